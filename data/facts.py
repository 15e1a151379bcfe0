"""Conditions: facts of the data that a model receives, each with a name and the names of its values.

In a batch a condition is a column int32 [batch] under its name: the number of a value, or `UNKNOWN`. The condition `LABEL` is the
class; a source may declare others, such as a colour.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from data.errors import UserError

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
    """Conditions of a model, in the order of its inputs. True when there are any."""

    conditions: tuple[Condition, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the conditions: the keys of a batch that hold them."""
        return tuple(condition.name for condition in self.conditions)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; () when `LABEL` is none of the conditions."""
        return self.get(LABEL).values if self.get(LABEL) else ()

    def get(self, name: str) -> Condition | None:
        """The condition of that name, or None."""
        return next((condition for condition in self.conditions if condition.name == name), None)

    def select(self, names: Iterable[str]) -> "Facts":
        """The conditions of these names only, in the order of `names`.

        Raises:
            UserError: no condition has that name; the sentence lists those there are.
        """
        for name in names:
            if name not in self.names:
                raise UserError(f"unknown condition {name!r}; have: {', '.join(self.names) or 'none'}")
        return Facts(tuple(self.get(name) for name in names))

    def to_json(self) -> list[dict]:
        """Returns the conditions as JSON: [{"name", "values", "optional"}]."""
        return [asdict(condition) | {"values": list(condition.values)} for condition in self.conditions]

    @staticmethod
    def from_json(values: list[dict]) -> "Facts":
        """The inverse of `to_json`."""
        return Facts(tuple(Condition(each["name"], tuple(each["values"]), each["optional"]) for each in values))

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.conditions)

    def __len__(self) -> int:
        return len(self.conditions)


def facts_of(source) -> Facts:
    """All conditions of a source, its rows or a run's record: `LABEL` from its `classes`, then its `attributes`.

    `attributes`, which a source need not have, maps a name to the names of its values; examples carry the number under that name, or
    `UNKNOWN`, so these conditions are optional. Every example of a source with classes has its label.
    """
    label = (Condition(LABEL, tuple(source.classes)),) if source.classes else ()
    attributes = getattr(source, "attributes", {})
    return Facts(label + tuple(Condition(name, tuple(values), True) for name, values in attributes.items()))
