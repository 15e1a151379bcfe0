"""The tokenizer: texts to numbers of words, in plain TensorFlow operations that an export holds with its vocabulary.

It splits as `data.words.split` does, by the general categories L and N of Unicode in place of Python's letters and digits.
"""

import keras
import numpy as np
import tensorflow as tf

from data.words import UNKNOWN_WORD, Words


def spaced(texts):
    """Texts string [n] in small letters, with a space in place of everything that is no letter or digit."""
    return tf.strings.regex_replace(tf.strings.lower(texts, encoding="utf-8"), r"[^\pL\pN]+", " ")


class Tokenizer:
    """Numbers of the words of texts.

    `layer` is the Keras layer that holds the vocabulary in a lookup table: a SavedModel has to track it.
    """

    def __init__(self, words: Words):
        self.words = words
        with tf.init_scope():  # its table outlives the function that is being traced
            self.layer = keras.layers.TextVectorization(
                standardize=spaced, vocabulary=list(words.vocabulary), ragged=True, dtype="int64"
            )

    def __call__(self, texts):
        """string [n] -> int32 [n, length]: see `data.words`. Words behind `length` are cut off."""
        numbers = self.layer(texts)
        return tf.cast(numbers.to_tensor(default_value=0, shape=[None, self.words.length]), tf.int32)

    def unknown(self, texts):
        """string [n] -> string [n]: the words of each text that are not in the vocabulary, with spaces between them."""
        words = tf.strings.split(spaced(texts))
        return tf.strings.reduce_join(
            tf.ragged.boolean_mask(words, self.layer(texts) == UNKNOWN_WORD), axis=1, separator=" "
        )


def tokens(tokenizer: Tokenizer, captions: np.ndarray) -> np.ndarray:
    """Returns the numbers of the words of captions, bytes [n] in UTF-8: int32 [n, length]."""
    return np.concatenate(
        [tokenizer(tf.constant(part)).numpy() for part in np.array_split(captions, len(captions) // 4096 + 1)]
    )
