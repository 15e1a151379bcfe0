"""Keys of a batch: one table of their kinds, for all code that carries or checks batches.

A picture is uint8 [height, width, 3] in an example and in the rows of the cache, and float32 [batch, height, width, 3] in [-1, 1] in a
batch. A map lies over the picture, one value a pixel: uint8 [height, width, channels] in a row, float32 in [0, 1] in a batch. The others
have no place in the picture: a number, a sequence of numbers, or a text. A name that is not in the table is an attribute that a source
declares (see `data.facts`): a number like `label`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GENERATION, TRANSLATION, ENHANCEMENT = TASKS = ("generation", "translation", "enhancement")


@dataclass(frozen=True)
class Kind:
    """Values of one kind.

    dtype, rank, low, high: in a batch; low and high bound its values, None where unbounded.
    kept: NumPy type of a row in the cache.
    """

    name: str
    dtype: str
    rank: int
    low: float | None
    high: float | None
    kept: str

    @property
    def spatial(self) -> bool:
        """True for values that lie over the picture, and are flipped, cropped and warped with it."""
        return self.rank == 4


# fmt: off
PICTURE = Kind("picture", "float32", 4, -1.0, 1.0, "u1")
MAP     = Kind("map",     "float32", 4, 0.0, 1.0, "u1")
LABEL   = Kind("label",   "int32",   1, -1, None, "i4")     # the number of a name, -1 where it is not known
TOKENS  = Kind("tokens",  "int32",   2, 0, None, "i4")      # numbers of words, in order
CODES   = Kind("codes",   "int32",   2, 0, None, "i4")      # entries of a codebook, from left to right and top to bottom
TEXT    = Kind("text",    "string",  1, None, None, "S256")  # UTF-8, cut to 256 bytes

KEYS = {
    "image":   PICTURE,
    "source":  PICTURE,
    "target":  PICTURE,
    "low":     PICTURE,
    "high":    PICTURE,
    "mask":    MAP,
    "label":   LABEL,
    "tokens":  TOKENS,
    "codes":   CODES,
    "caption": TEXT,
}
# fmt: on

# What the families of a task read. A family adds keys of its own by `KEYS` on its model.
REQUIRED = {
    GENERATION: ("image",),
    TRANSLATION: ("source", "target"),
    ENHANCEMENT: ("low", "high"),
}


def kind(key: str) -> Kind:
    """Returns the kind of a key."""
    return KEYS.get(key, LABEL)


def check(batch: Mapping, keys: Iterable[str]) -> None:
    """Check that a batch of tensors has these keys and no others, each of the dtype and rank in the table.

    Raises ValueError, whose text names the keys at fault.
    """
    keys = tuple(keys)
    missing, surplus = [key for key in keys if key not in batch], [key for key in batch if key not in keys]
    if missing or surplus:
        raise ValueError(
            f"expected a batch with the keys {', '.join(keys)}; missing: {', '.join(missing) or 'none'};"
            f" not asked for: {', '.join(surplus) or 'none'}"
        )
    for key in keys:
        expected, dtype, rank = kind(key), batch[key].dtype.name, len(batch[key].shape)
        if (dtype, rank) != (expected.dtype, expected.rank):
            raise ValueError(
                f"{key} is a {expected.name}, {expected.dtype} of rank {expected.rank} in a batch; this one is {dtype} of rank {rank}"
            )


def check_range(batch: Mapping) -> None:
    """Check the values of eager tensors by the table. Raises ValueError, whose text gives both ranges."""
    for key, tensor in batch.items():
        low, high = kind(key).low, kind(key).high
        if low is None:
            continue
        values = tensor.numpy()
        if not ((values >= low) & (values <= (values if high is None else high))).all():  # NaN fails too
            bounds = f"{low:g} or more" if high is None else f"{low:g} to {high:g}"
            raise ValueError(f"{key} is a {kind(key).name} of {bounds}; there is {values.min():g} to {values.max():g}")
