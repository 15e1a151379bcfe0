"""Names of the values of a condition, and the numbers a conditional model takes for them: one meaning of a label everywhere.

An export of a model that is told its classes has a signature `classes`, label int64 [n] -> name string [n] and count int64 [n], so
that whoever can ask the model can ask for its names, without the files of the export. For another condition, such as `colour`, it is
called `colour_values`, and its input `colour`.
"""

import re
from collections.abc import Sequence

from .errors import BadCall

LABEL, SIGNATURE = "label", "classes"
_LARGEST = 2**63 - 1


def signature(condition: str) -> str:
    """The signature that tells the names of a condition's values."""
    return SIGNATURE if condition == LABEL else f"{condition}_values"


def number(label: str | int, names: Sequence[str] = (), condition: str = LABEL) -> int:
    """The number that a model with the classes `names` takes for a label, or for the value of another condition.

    A `str` is a name, and where no class has it a number from 0 on; an `int` is a number. Without `names` any number is.
    Raises BadCall with a sentence for anything else.
    """
    if label in names:
        return names.index(label)
    text = str(label)
    if re.fullmatch(r"[0-9]{1,19}", text) and int(text) < (len(names) or _LARGEST):
        return int(text)
    raise BadCall(f"unknown {condition} {text!r}; have: {listed(names)}")


def listed(names: Sequence[str], most: int = 20) -> str:
    """The names in a sentence, not too many of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "numbers from 0"
