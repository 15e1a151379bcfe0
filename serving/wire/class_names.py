"""Classes by the names people know them by, and by the numbers a conditional model takes: one meaning of a label everywhere.

An export of a model with classes has a signature `classes`, label int64 [n] -> name string [n] and count int64 [n], so
that whoever can ask the model can ask for its names, without the files of the export.
"""

import re
from collections.abc import Sequence

from .errors import BadCall

SIGNATURE = "classes"
_LARGEST = 2**63 - 1


def number(label: str | int, names: Sequence[str] = ()) -> int:
    """The number that a model with the classes `names` takes for a label.

    A `str` is a name, and where no class has it a number from 0 on; an `int` is a number. Without `names` any number is.
    Raises BadCall with a sentence for anything else.
    """
    if label in names:
        return names.index(label)
    text = str(label)
    if re.fullmatch(r"[0-9]{1,19}", text) and int(text) < (len(names) or _LARGEST):
        return int(text)
    raise BadCall(f"unknown label {text!r}; have: {listed(names)}")


def listed(names: Sequence[str], most: int = 20) -> str:
    """The names in a sentence, not too many of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "numbers from 0"
