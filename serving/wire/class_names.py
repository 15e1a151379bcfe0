"""Names of the values of a condition, and the numbers that a conditional model takes for them.

The export of a conditional model has a signature `classes`: label int64 [n] -> name string [n] and count int64 [n]. A
client reads the names from it and needs no files of the export. For another condition, such as `colour`, the signature
is `colour_values` and its input `colour`.
"""

import re
from collections.abc import Sequence

from .errors import BadCall

LABEL, SIGNATURE = "label", "classes"
_LARGEST = 2**63 - 1


def signature(condition: str) -> str:
    """The signature that returns the names of a condition's values."""
    return SIGNATURE if condition == LABEL else f"{condition}_values"


def number(label: str | int, names: Sequence[str] = (), *, condition: str = LABEL) -> int:
    """The number of a class, or of the value of another condition, among `names`.

    A `str` is a name, or a number from 0 if no class has that name; an `int` is a number. Without `names` every number
    is valid. Raises BadCall for anything else.
    """
    if label in names:
        return names.index(label)
    text = str(label)
    if re.fullmatch(r"[0-9]{1,19}", text) and int(text) < (len(names) or _LARGEST):
        return int(text)
    raise BadCall(f"unknown {condition} {text!r}; have: {listed(names)}")


def listed(names: Sequence[str], most: int = 20) -> str:
    """The names for a sentence, at most `most` of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "numbers from 0"
