"""Conditions: facts of the data that a model receives, each with a name and the names of its values.

In a batch a condition is a column int32 [batch] under its name: the number of a value, or `UNKNOWN`. The condition `LABEL` is the
class; a source may declare others, such as a colour. What captions say is told in words: see `data.words`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from data.errors import UserError
from data.words import CAPTION, TOKENS, Words

LABEL = "label"
UNKNOWN = -1  # in a column: nothing is known of that example


@dataclass(frozen=True)
class Condition:
    """One condition of a model.

    name: its key in a batch. values: the names of its values, in the order of their numbers. optional: whether it may be `UNKNOWN`, in
    training and in use.
    """

    name: str
    values: tuple[str, ...]
    optional: bool = False

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.values)


@dataclass(frozen=True)
class Facts:
    """Facts that a model is told: words, if any, and conditions, in the order of its inputs. True when there is anything."""

    conditions: tuple[Condition, ...] = ()
    words: Words | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the conditions: the keys of a batch that hold them."""
        return tuple(condition.name for condition in self.conditions)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of a batch that hold what the model is told, in the order of its inputs: `TOKENS` if it is told words, then the names."""
        return ((TOKENS,) if self.words else ()) + self.names

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; () when `LABEL` is none of the conditions."""
        return self.get(LABEL).values if self.get(LABEL) else ()

    def get(self, name: str) -> Condition | None:
        """The condition of that name, or None."""
        return next((condition for condition in self.conditions if condition.name == name), None)

    def select(self, names: Iterable[str]) -> "Facts":
        """The conditions of these names only, in the order of `names`; the words under the name `CAPTION`.

        Raises:
            UserError: no condition has that name; the sentence lists those there are.
        """
        names, known = list(names), self.names + ((CAPTION,) if self.words else ())
        for name in names:
            if name not in known:
                raise UserError(f"unknown condition {name!r}; have: {', '.join(known) or 'none'}")
        conditions = tuple(self.get(name) for name in names if name != CAPTION)
        return Facts(conditions, self.words if CAPTION in names else None)

    def to_json(self) -> list[dict]:
        """Returns the conditions as JSON: [{"name", "values", "optional"}], and of words {"name", "vocabulary", "length"}."""
        words = [{"name": CAPTION} | self.words.to_json()] if self.words else []
        return [asdict(condition) | {"values": list(condition.values)} for condition in self.conditions] + words

    @staticmethod
    def from_json(values: list[dict]) -> "Facts":
        """The inverse of `to_json`."""
        told = [Condition(each["name"], tuple(each["values"]), each["optional"]) for each in values if "values" in each]
        words = [Words.from_json(each) for each in values if "vocabulary" in each]
        return Facts(tuple(told), words[0] if words else None)

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.conditions)

    def __len__(self) -> int:
        return len(self.keys)


def facts_of(source) -> Facts:
    """All conditions of a source, its rows or a run's record: `LABEL` from its `classes`, then its `attributes`; of a record also `words`.

    `attributes`, which a source need not have, maps a name to the names of its values; examples carry the number under that name, or
    `UNKNOWN`, so these conditions are optional. Every example of a source with classes has its label.
    """
    label = (Condition(LABEL, tuple(source.classes)),) if source.classes else ()
    attributes = getattr(source, "attributes", {})
    told = tuple(Condition(name, tuple(values), True) for name, values in attributes.items())
    return Facts(label + told, getattr(source, "words", None))
