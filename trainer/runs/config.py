"""What one run is: a frozen dataclass, read from the command line and the environment, written to the run folder as JSON.

Precedence, as on Vertex AI: flag > AIP_* variable > default.
"""

import dataclasses
import json
import math
import os
import re
import types
import typing

from data import files
from data.errors import UserError
from data.facts import LABEL
from models import catalogue

STRATEGIES = ("auto", "one", "mirrored", "multiworker", "tpu")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
LENGTH = "images"  # the one setting that a resumed run may change
SCHEMA = 1  # counted up when what is written comes to mean something else; a field with a default does not need it
_NEWER = (
    "it was written by a newer version, or an older one whose setting has been removed or renamed: use that version, or train anew in"
    " another --job-dir"
)


class Damaged(UserError):
    """What should be a run's configuration is none; the text says why, as the end of a sentence."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes. `settings` is the family's config as a plain dict.

    A field added here, or to a family's config, has the default that says what runs did before there was a choice: with it, older runs
    and exports are read.
    """

    model: str
    preset: str | None
    data: str
    fit: str
    view: str
    seed: int
    strategy: str
    precision: str  # one of PRECISIONS; "auto" until the training has settled it, never in a run's folder
    conditional: bool
    augment: str
    settings: dict
    mirror: bool = True
    conditions: tuple[str, ...] = ()  # that the model is told besides the category
    init: str | None = None  # run, or run#part, whose weights it begins with
    parent: str | None = None  # run that lends it its networks

    @property
    def told(self) -> tuple[str, ...]:
        """Names of all conditions that the model is told."""
        return ((LABEL,) if self.conditional else ()) + tuple(self.conditions)

    def as_values(self) -> dict:
        """What config.json and export.json hold of it."""
        return {"schema": SCHEMA} | dataclasses.asdict(self)

    def to_json(self) -> str:
        """The configuration as indented JSON, keys in a fixed order."""
        return json.dumps(self.as_values(), indent=2) + "\n"

    @staticmethod
    def from_values(values, where: str) -> "RunConfig":
        """The inverse of `as_values`, of this or an earlier version: what was added since has its default. `where` names the file.

        Raises:
            Damaged: this is no configuration.
            UserError: it has settings that are not known here, by name, type or range, or is of a later schema.
        """
        if not isinstance(values, dict) or not isinstance(values.get("settings"), dict):
            raise Damaged("it holds no run configuration")
        values = dict(values)
        schema = values.pop("schema", 0)
        if schema not in range(SCHEMA + 1):
            raise UserError(f"{where} has schema {schema!r}, and this packshot knows 0 to {SCHEMA}; {_NEWER}")
        run = _filled(RunConfig, values, where)
        if run.model not in catalogue.names():
            raise UserError(f"{where} is of the model {run.model!r}, which this packshot has not got; {_NEWER}")
        config = _filled(catalogue.load(run.model).Config, run.settings, where)
        return dataclasses.replace(run, settings=dataclasses.asdict(config))

    @staticmethod
    def from_json(text: str, where: str) -> "RunConfig":
        """The inverse of `to_json`; see `from_values`."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise Damaged(f"it is no JSON: {error}") from error
        return RunConfig.from_values(values, where)


def _filled(kind, values, where):
    """The dataclass `kind` of named values, as JSON has them; fields that are not among them have their default."""
    types_of = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in values.items():
        if name not in fields:
            raise UserError(f"{where} has the setting {name}, which is not known here; {_NEWER}")
        if not _is_a(value, types_of[name]):
            raise UserError(
                f"{where} has {name}={json.dumps(value)}, and {name} takes another kind of value here; {_NEWER}"
            )
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory:  # both are MISSING
            raise Damaged(f"it has no {name}")
    try:
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _is_a(value, kind):
    if typing.get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_is_a(item, typing.get_args(kind)[0]) for item in value)
    if isinstance(kind, types.UnionType):
        return any(_is_a(value, one) for one in typing.get_args(kind))
    return type(value) is kind or (kind is float and type(value) is int)


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """How a run is measured while it trains. No part of its configuration: no weight depends on it, and it may change between the
    parts of a run; what is kept as best and when a run ends early does depend on it.
    """

    every: int | None = None  # pictures between two evaluations; 0: never; None: see `trainer.training.schedule`
    data: str | None = None  # source of held-out pictures; None: the split beside the training one, if there is one
    count: int | None = None  # pictures made an evaluation
    features: str = "packshot"
    best: str | None = None  # name of the measure that the best checkpoint is kept by, or its beginning
    patience: int | None = None  # evaluations without improvement after which training ends

    @property
    def asked_for(self) -> bool:
        """Whether the user asked to be told, and not only did not forbid it."""
        return bool(self.every) or any(x is not None for x in (self.data, self.count, self.best, self.patience))


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """What differs, a line each ("learning_rate: 0.0002 -> 0.001"), the length of training left out."""

    def flat(run):
        values = json.loads(json.dumps(dataclasses.asdict(run)))  # lists and tuples alike
        settings = values.pop("settings")
        settings.pop(LENGTH, None)
        return values | settings

    before, after = flat(old), flat(new)
    names = [*before, *(name for name in after if name not in before)]
    return [f"{name}: {before.get(name)} -> {after.get(name)}" for name in names if before.get(name) != after.get(name)]


def parse_settings(pairs: typing.Iterable[str], config_class: type) -> dict:
    """`name=value` strings, each value read as the type of that field of a dataclass.

    Tuples are written with commas (`channels=128,96,64`). Unknown names are passed on as text, for the catalogue to refuse.

    Raises:
        UserError: no `=` in a pair, or a value that is not of the field's type.
    """
    kinds = typing.get_type_hints(config_class)
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise UserError(f"--set takes name=value, not {pair!r}")
        found[name] = read(text.strip(), kinds[name], name) if name in kinds else text
    return found


def read(text: str, kind, name: str):
    """`text` as a value of `kind`: int, float, bool, str or tuple[int, ...]. UserError says what was expected."""
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return tuple(
            read(part.strip(), item, name) for part in re.sub(r"[()\[\]]", "", text).split(",") if part.strip()
        )
    if isinstance(kind, types.UnionType):
        kind = typing.get_args(kind)[0]
    if kind is bool:
        if text.lower() not in WORDS:
            raise UserError(f"{name} takes true or false, not {text!r}")
        return WORDS[text.lower()]
    try:
        if kind is int:
            number = float(text)
            if number != int(number):
                raise ValueError
            return int(number)
        if kind is float and math.isinf(float(text)):
            raise ValueError
        return kind(text)
    except (ValueError, OverflowError):
        raise UserError(f"{name} takes {'a whole number' if kind is int else 'a number'}, not {text!r}") from None


def from_environment(name: str) -> str | None:
    """The path in an AIP_* variable of Vertex AI, without its trailing slash; None when unset or empty.

    Raises UserError for schemes that cannot be read, such as s3://.
    """
    return files.resolve(os.environ.get(name, "").rstrip("/")) or None


def data_from_environment() -> str | None:
    """AIP_TRAINING_DATA_URI as a source: shards of TFRecords as they are, anything else as a folder of pictures.

    Raises:
        UserError: the variable lists JSON lines or CSV, which hold no pictures.
    """
    uri = from_environment("AIP_TRAINING_DATA_URI")
    if uri is None or re.match(r"(folder|pairs|tfds|idx|tfrecord):", uri):
        return uri
    if uri.endswith((".jsonl", ".csv")):
        raise UserError(
            f"AIP_TRAINING_DATA_URI is {uri}, which lists annotations; give --data a folder: or tfrecord: source"
        )
    return f"tfrecord:{uri}" if "tfrecord" in uri else f"folder:{uri}"
