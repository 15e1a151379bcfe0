"""Configuration of a run: a frozen dataclass, read from the command line and the environment, written to the run folder as JSON.

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
SCHEMA = 1  # increased when a written field changes its meaning; a new field with a default does not need it
_NEWER = (
    "it was written by a newer version, or by an older one with a setting since removed or renamed: use that version, or train again in"
    " another --job-dir"
)


class Damaged(UserError):
    """Error of a damaged run configuration; the text is the reason, as the end of a sentence."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings that decide the computation of a run. `settings` is the family's config as a plain dict.

    A new field here, or in a family's config, has a default that keeps the earlier behaviour, so that older runs and exports can be read.
    """

    model: str
    preset: str | None
    data: str
    fit: str
    view: str
    seed: int
    strategy: str
    precision: str  # one of PRECISIONS; "auto" until the training has chosen one, never in a run's folder
    conditional: bool
    augment: str
    settings: dict
    mirror: bool = True
    conditions: tuple[str, ...] = ()  # that the model is told besides the category
    init: str | None = None  # run, or run#part, whose weights it begins with
    parent: str | None = None  # run that lends it its networks
    freeze_critic: int = 0  # layers of the critic, from the picture on, that are not trained
    lora: int = 0  # rank of the changes by which the network is trained; 0: its kernels themselves are

    @property
    def told(self) -> tuple[str, ...]:
        """Names of all conditions of the model."""
        return ((LABEL,) if self.conditional else ()) + tuple(self.conditions)

    def as_values(self) -> dict:
        """Returns the configuration as in config.json and export.json."""
        return {"schema": SCHEMA} | dataclasses.asdict(self)

    def to_json(self) -> str:
        """Returns the configuration as indented JSON, keys in a fixed order."""
        return json.dumps(self.as_values(), indent=2) + "\n"

    @staticmethod
    def from_values(values, where: str) -> "RunConfig":
        """Inverse of `as_values`, of this or an earlier version: newer fields get their defaults. `where` names the file.

        Raises:
            Damaged: this is not a configuration.
            UserError: a setting is unknown here by name, type or range, or the schema is newer.
        """
        if not isinstance(values, dict) or not isinstance(values.get("settings"), dict):
            raise Damaged("it holds no run configuration")
        values = dict(values)
        schema = values.pop("schema", 0)
        if schema not in range(SCHEMA + 1):
            raise UserError(f"{where} has schema {schema!r}, and this packshot knows 0 to {SCHEMA}; {_NEWER}")
        run = _filled(RunConfig, values, where)
        if run.model not in catalogue.names():
            raise UserError(f"{where} is of the model {run.model!r}, which this packshot does not have; {_NEWER}")
        config = _filled(catalogue.load(run.model).Config, run.settings, where)
        return dataclasses.replace(run, settings=dataclasses.asdict(config))

    @staticmethod
    def from_json(text: str, where: str) -> "RunConfig":
        """Inverse of `to_json`; see `from_values`."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise Damaged(f"it is not JSON: {error}") from error
        return RunConfig.from_values(values, where)


def _filled(kind, values, where):
    """Builds the dataclass `kind` from JSON values by name; missing fields get their defaults."""
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
    """Options of the evaluations during training. They are not part of a run's configuration and may change when it is resumed: no weight
    depends on them, only the best checkpoint and an early end do.
    """

    every: int | None = None  # pictures between two evaluations; 0: never; None: see `training/evaluation_schedule.py`
    data: str | None = None  # source of held-out pictures; None: the sibling split, if there is one
    count: int | None = None  # pictures made per evaluation
    features: str = "packshot"
    best: str | None = None  # measure that selects the best checkpoint, or the beginning of its name
    patience: int | None = None  # evaluations without improvement after which training ends

    @property
    def asked_for(self) -> bool:
        """Returns whether the user requested evaluations, instead of leaving the defaults."""
        return bool(self.every) or any(x is not None for x in (self.data, self.count, self.best, self.patience))


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """Lists the differences ("learning_rate: 0.0002 -> 0.001"), without the length of training."""

    def flat(run):
        values = json.loads(json.dumps(dataclasses.asdict(run)))  # lists and tuples alike
        settings = values.pop("settings")
        settings.pop(LENGTH, None)
        return values | settings

    before, after = flat(old), flat(new)
    names = [*before, *(name for name in after if name not in before)]
    return [f"{name}: {before.get(name)} -> {after.get(name)}" for name in names if before.get(name) != after.get(name)]


def parse_settings(pairs: typing.Iterable[str], config_class: type) -> dict:
    """Parses `name=value` strings, each value as the type of that field of a dataclass.

    Tuples are written with commas (`channels=128,96,64`). Values of unknown names stay text, for the catalogue to refuse.

    Raises:
        UserError: no `=` in a pair, or a value that is not of the field's type.
    """
    kinds = typing.get_type_hints(config_class)
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise UserError(f"--set takes name=value, not {pair!r}")
        settings[name] = read(text.strip(), kinds[name], name) if name in kinds else text
    return settings


def read(text: str, kind, name: str):
    """Reads `text` as a value of `kind`: int, float, bool, str or tuple[int, ...]. Raises UserError with the expected kind."""
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
    """Returns the path in an AIP_* variable of Vertex AI, without its trailing slash; None if unset or empty.

    Raises UserError for schemes that cannot be read, such as s3://.
    """
    return files.resolve(os.environ.get(name, "").rstrip("/")) or None


def data_from_environment() -> str | None:
    """Returns AIP_TRAINING_DATA_URI as a source: TFRecord shards as `tfrecord:`, anything else as `folder:`.

    Raises:
        UserError: the variable lists JSON lines or CSV, which hold no pictures.
    """
    uri = from_environment("AIP_TRAINING_DATA_URI")
    if uri is None or re.match(r"(folder|pairs|tfds|idx|tfrecord):", uri):
        return uri
    if uri.endswith((".jsonl", ".csv")):
        raise UserError(
            f"AIP_TRAINING_DATA_URI is {uri}, which lists annotations; use --data with a folder: or tfrecord: source"
        )
    return f"tfrecord:{uri}" if "tfrecord" in uri else f"folder:{uri}"
