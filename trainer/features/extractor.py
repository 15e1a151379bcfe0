"""Interface of feature networks for the measures: from pictures to vectors, maps or class probabilities."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data.errors import UserError
from data.images import bicubic_float
from data.progress import Progress, silent

Pictures = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class Extractor:
    """A frozen feature network.

    `name` identifies the network, its weights and its input size, in the characters of `trainer.metrics.names`. `size` is the side of its
    input in px. `classes` is the number of its classes, None if it is not a classifier.

    `to_vectors`, `to_maps` and `to_probabilities` run the network: float32 [batch, size, size, 3] in [0, 255] to [batch, d], to a list of
    [batch, height, width, channels], and to [batch, classes]. They always get `batch` pictures: with one shape, the result of a picture
    does not depend on their number.
    """

    name: str
    size: int
    to_vectors: Callable
    to_maps: Callable | None = None
    to_probabilities: Callable | None = None
    classes: int | None = None
    batch: int = 64

    def vectors(self, pictures: Pictures, progress: Progress = silent) -> np.ndarray:
        """Features float32 [n, d] of uint8 pictures [n, height, width, 3], or of a list of them in different sizes.

        Pictures of another size are brought to `size` x `size` as `data.images.bicubic_float` does. `progress` is handed the
        batches (`data.progress`). Raises UserError for no pictures and for ones that are not
        uint8 [height, width, 3].
        """
        return np.concatenate(list(self._run(self.to_vectors, pictures, progress)))

    def maps(self, pictures: Pictures, progress: Progress = silent) -> list[np.ndarray]:
        """Feature maps of several layers, float32 [n, height, width, channels] each, shallow ones first; arguments as for `vectors`.

        Raises UserError if the network's layers are unknown.
        """
        if self.to_maps is None:
            raise UserError(
                f"{self.name} has no layers to compare; use packshot, inception, keras:NAME, vgg16:PATH or alexnet:PATH"
            )
        batches = list(self._run(self.to_maps, pictures, progress, several=True))
        return [np.concatenate(layer) for layer in zip(*batches, strict=True)]

    def probabilities(self, pictures: Pictures, progress: Progress = silent) -> np.ndarray:
        """Class probabilities float32 [n, classes]; arguments as for `vectors`. Raises UserError when the network is no classifier."""
        if self.to_probabilities is None:
            raise UserError(f"{self.name} is not a classifier; use inception or keras:NAME")
        return np.concatenate(list(self._run(self.to_probabilities, pictures, progress)))

    def _run(self, network, pictures, progress, several=False):
        for count, batch in progress(self._batches(pictures), -(-len(pictures) // self.batch), "features"):
            found = network(batch)
            yield [np.asarray(rows)[:count] for rows in found] if several else np.asarray(found)[:count]

    def _batches(self, pictures) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (number of pictures, float32 [batch, size, size, 3] that begins with them)."""
        if not len(pictures):
            raise ValueError("there are no features of no pictures")
        for start in range(0, len(pictures), self.batch):
            part = pictures[start : start + self.batch]
            batch = np.zeros((self.batch, self.size, self.size, 3), np.float32)
            for row, picture in enumerate(part):
                if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                    where = f"picture {start + row} must be uint8 [height, width, 3]"
                    raise ValueError(f"{where}, not {picture.dtype} {list(picture.shape)}")
                batch[row] = bicubic_float(picture, (self.size, self.size))
            yield len(part), batch
