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

STRATEGIES = ("auto", "one", "mirrored", "multiworker", "tpu")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
LENGTH = "images"  # the one setting that a resumed run may change


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run computes. `settings` is the family's config as a plain dict."""

    model: str
    preset: str | None
    data: str
    fit: str
    view: str
    seed: int
    strategy: str
    precision: str  # one of PRECISIONS; "auto" until `trainer.loop` has settled it, never in a run's folder
    conditional: bool
    augment: str
    settings: dict
    mirror: bool = True  # as all runs were before there was a choice

    def to_json(self) -> str:
        """The configuration as indented JSON, keys in a fixed order."""
        return json.dumps(dataclasses.asdict(self), indent=2, default=list) + "\n"

    @staticmethod
    def from_json(text: str) -> "RunConfig":
        """The inverse of `to_json`. ValueError if the text is not such a configuration."""
        try:
            found = RunConfig(**json.loads(text))
            found.settings.items()
            return found
        except (TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a run configuration: {error}") from error


@dataclasses.dataclass(frozen=True)
class Measuring:
    """How a run is measured while it trains. No part of its configuration: no weight depends on it, and it may change between the
    parts of a run; what is kept as best and when a run ends early does depend on it.
    """

    every: int | None = None  # pictures between two evaluations; 0: never; None: see `trainer.measuring`
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
        values = json.loads(run.to_json())
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
        ValueError: no `=` in a pair, or a value that is not of the field's type.
    """
    kinds = typing.get_type_hints(config_class)
    found = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ValueError(f"--set takes name=value, not {pair!r}")
        found[name] = read(text.strip(), kinds[name], name) if name in kinds else text
    return found


def read(text: str, kind, name: str):
    """`text` as a value of `kind`: int, float, bool, str or tuple[int, ...]. ValueError says what was expected."""
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return tuple(
            read(part.strip(), item, name) for part in re.sub(r"[()\[\]]", "", text).split(",") if part.strip()
        )
    if isinstance(kind, types.UnionType):
        kind = typing.get_args(kind)[0]
    if kind is bool:
        if text.lower() not in WORDS:
            raise ValueError(f"{name} takes true or false, not {text!r}")
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
        raise ValueError(f"{name} takes {'a whole number' if kind is int else 'a number'}, not {text!r}") from None


def check_positive(config) -> None:
    """ValueError if a count or rate of the family's config is negative, or a size is zero."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        lowest = (
            1
            if field.name in ("resolution", "batch_size", "images", "critic_steps", "penalty_every", "latent_size")
            else 0
        )
        if not value >= lowest:
            raise ValueError(f"{field.name} must be {lowest} or more, not {value}")


def from_environment(name: str) -> str | None:
    """The path in an AIP_* variable of Vertex AI, without its trailing slash; None when unset or empty.

    Raises ValueError for schemes that cannot be read, such as s3://.
    """
    return files.resolve(os.environ.get(name, "").rstrip("/")) or None


def data_from_environment() -> str | None:
    """AIP_TRAINING_DATA_URI as a source: shards of TFRecords as they are, anything else as a folder of pictures.

    Raises:
        ValueError: the variable lists JSON lines or CSV, which hold no pictures.
    """
    uri = from_environment("AIP_TRAINING_DATA_URI")
    if uri is None or re.match(r"(folder|pairs|tfds|idx|tfrecord):", uri):
        return uri
    if uri.endswith((".jsonl", ".csv")):
        raise ValueError(
            f"AIP_TRAINING_DATA_URI is {uri}, which lists annotations; give --data a folder: or tfrecord: source"
        )
    return f"tfrecord:{uri}" if "tfrecord" in uri else f"folder:{uri}"
