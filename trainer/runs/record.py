"""Records the training data of a run in its record.json, for when the data are gone or have changed."""

import json
from dataclasses import asdict, dataclass, field, replace

from data import files
from data.errors import UserError
from data.facts import LABEL, facts_of
from data.words import CAPTION, Words


@dataclass(frozen=True)
class Data:
    """Content of a source.

    classes: names in label order. count: examples, None if unknown without reading them. attributes: names of the values of other
    conditions, by name; see `data.facts.facts_of`. words: those of the captions, of a run that is told them; else None.
    """

    spec: str
    classes: tuple[str, ...]
    count: int | None
    fingerprint: str
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    words: Words | None = None

    @staticmethod
    def of(source, words: Words | None = None) -> "Data":
        """Returns the current content of a source."""
        attributes = {name: tuple(values) for name, values in getattr(source, "attributes", {}).items()}
        return Data(source.spec, tuple(source.classes), source.count, source.fingerprint(), attributes, words)


@dataclass(frozen=True)
class Record:
    """data: what it is trained on now. changes: {"step", "from", "to"} for each time that other data were accepted.
    saved: whether a checkpoint was ever written, so that it is noticed when there is none any more.
    precision: the `trainer.training.precision.Choice` of `--precision auto` as a dict; None when the precision was named.
    init: {"run", "parts", "step"} whose weights it began with. parent: {"run", "step"} that lends it networks.
    frozen: names of networks that it borrows, each with a hash; None in records that are older.
    """

    data: Data
    changes: tuple[dict, ...] = ()
    saved: bool = False
    precision: dict | None = None
    init: dict | None = None
    parent: dict | None = None
    frozen: tuple[str, ...] | None = None

    def changed(self, data: Data, step: int) -> "Record":
        """Returns the record of a run that resumes at `step` with other data."""
        return replace(
            self, data=data, changes=(*self.changes, {"step": step, "from": asdict(self.data), "to": asdict(data)})
        )


def read(path: str) -> Record | None:
    """Reads a record; None if there is no file. Raises UserError if it is damaged."""
    if not files.exists(path):
        return None
    try:
        values = json.loads(files.read(path))
        data = values["data"]
        attributes = {name: tuple(known) for name, known in data.get("attributes", {}).items()}
        words = Words.from_json(data["words"]) if data.get("words") else None
        data = Data(**data | {"classes": tuple(data["classes"]), "attributes": attributes, "words": words})
        frozen = values.get("frozen")
        return Record(
            data=data,
            changes=tuple(values["changes"]),
            saved=values["saved"],
            **{name: values.get(name) for name in ("precision", "init", "parent")},
            frozen=None if frozen is None else tuple(frozen),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} is damaged and does not name the training data of the run; restore it from a copy, or remove it, and the current"
            " data are assumed to be the same"
        ) from error


def write(path: str, record: Record) -> None:
    """Writes a record atomically. Raises OSError."""
    files.write_json(path, asdict(record))


def check_frozen(path: str, known: Record | None, model) -> None:
    """Raise UserError if the networks that a model borrows are not those that are written in the record at `path`."""
    if known is None or known.frozen is None or known.frozen == model.borrowed():
        return
    raise UserError(
        f"{path} says that the run borrows the networks {_named(known.frozen)}, and what is there now is {_named(model.borrowed())}: put"
        " back what has changed, the run's own copy in parent/ or the file that was named, or train anew in another --job-dir"
    )


def difference(old: Data, new: Data, *, conditions: tuple[str, ...] = ()) -> str | None:
    """Describes the difference between two data, as the end of a sentence; None if they are equal.

    Raises UserError if the values of one of the `conditions` differ: the model's numbers mean the old values.
    """
    for name in set(conditions) - {CAPTION}:  # what captions say now is read by the words of then
        before, now = (facts_of(data).get(name) for data in (old, new))
        if before != now:
            what = "classes" if name == LABEL else f"values of {name}"
            raise UserError(
                f"the run was trained with the {what} {_named(before and before.values)}; the data have {_named(now and now.values)}:"
                f" give the {what} their old names, or train again in another --job-dir"
            )
    if old.fingerprint == new.fingerprint and old.classes == new.classes:
        return None
    if old.classes != new.classes:
        return f"classes {_named(old.classes)} then, {_named(new.classes)} now"
    if old.count != new.count:
        return f"{_counted(old.count)} then, {_counted(new.count)} now"
    return f"{_counted(old.count)} then as now, but not the same ones"


def _named(names):
    return ", ".join(names or ()) or "(none)"


def _counted(count):
    return "an unknown number of pictures" if count is None else f"{count:,} picture{'' if count == 1 else 's'}"
