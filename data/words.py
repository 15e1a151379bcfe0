"""Words of captions: the vocabulary that a model of words knows, and what counts as a word.

A word is a run of letters and digits of any script, in small letters; everything else parts words: "T-shirt, 2-pack" has the words t,
shirt, 2 and pack. `models/words.py` splits in the same way inside of an export.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from data.errors import UserError

CAPTION = "caption"  # in an example: what a picture shows, in words
TOKENS = "tokens"  # in a batch: the numbers of those words
PADDING, UNKNOWN_WORD, FIRST_WORD = 0, 1, 2  # numbers: no word, a word that is not in the vocabulary, its first word
MOST_WORDS, LONGEST = 8_000, 64  # words of a vocabulary; words of a caption
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Words:
    """Words that a model knows.

    vocabulary: words in the order of their numbers, the first of which is `FIRST_WORD`. length: words that it reads of a caption; later
    ones are cut off.
    """

    vocabulary: tuple[str, ...]
    length: int

    @property
    def count(self) -> int:
        """Number of numbers: the words, `PADDING` and `UNKNOWN_WORD`."""
        return FIRST_WORD + len(self.vocabulary)

    def to_json(self) -> dict:
        """Returns {"vocabulary", "length"}."""
        return {"vocabulary": list(self.vocabulary), "length": self.length}

    @staticmethod
    def from_json(values: dict) -> "Words":
        """The inverse of `to_json`. Raises KeyError or TypeError for anything else."""
        return Words(tuple(values["vocabulary"]), int(values["length"]))


def split(text: str) -> list[str]:
    """The words of a text, in their order."""
    return _WORD.findall(text.lower())


def learn(captions: Iterable[str]) -> Words:
    """The words of these captions: the `MOST_WORDS` most frequent ones, frequent ones first, and those of one frequency by the alphabet.

    Raises UserError when there is no word in them.
    """
    counts, length = Counter(), 0
    for caption in captions:
        words = split(caption)
        counts.update(words)
        length = max(length, len(words))
    if not counts:
        raise UserError("the captions of the data hold no word")
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return Words(tuple(ordered[:MOST_WORDS]), min(length, LONGEST))
