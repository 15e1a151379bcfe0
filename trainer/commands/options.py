"""Types of options that several commands share."""

from collections.abc import Iterable

import click

from data import files
from data.errors import UserError
from trainer.runs import config


class ResolvedPath(click.ParamType):
    """Type of paths, local or gs://: expands ~ and refuses unknown schemes."""

    name = "path"

    def convert(self, value, param, ctx):
        if not value:
            self.fail("the path is empty; . is the current folder", param, ctx)
        try:
            return files.resolve(value)
        except (files.UnknownScheme, files.UnknownHome) as error:
            self.fail(str(error), param, ctx)


class ModelName(click.ParamType):
    """Type of model names that a server can serve."""

    name = "name"

    def convert(self, value, param, ctx):
        from serving.export import layout

        try:
            return layout.check_name(value)
        except layout.BadName as error:
            self.fail(str(error), param, ctx)


class Whole(click.IntRange):
    """Type of whole numbers, written as settings are: 8, 8.0, 1e3 or 10_000."""

    def convert(self, value, param, ctx):
        return super().convert(_read(self, value, int, param, ctx), param, ctx)


class Number(click.FloatRange):
    """Type of finite numbers, written as settings are."""

    def convert(self, value, param, ctx):
        value = _read(self, value, float, param, ctx)
        if value != value:
            self.fail("nan is not a number", param, ctx)
        return super().convert(value, param, ctx)


def _read(kind, value, wanted, param, ctx):
    if not isinstance(value, str):
        return value
    try:
        return config.read(value.strip(), wanted, "it")
    except UserError as error:
        kind.fail(str(error), param, ctx)


PATH, MODEL_NAME = ResolvedPath(), ModelName()
VERSION = click.IntRange(0, 2**63 - 1)  # the range of TensorFlow Serving


def named(texts: Iterable[str], option: str) -> dict[str, str]:
    """Parses the "name=value" texts of a repeatable option. Raises UserError for a text without an equals sign."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UserError(f"{option} takes name=value, not {text!r}")
        values[name.strip()] = value.strip()
    return values


def conditions(label: str | None, texts: Iterable[str]) -> dict[str, str]:
    """Conditions by name, from --label and each --condition NAME=VALUE. Raises UserError."""
    return ({} if label is None else {"label": label}) | named(texts, "--condition")


def passed_over(words: Iterable[str]) -> str:
    """The sentence on words that a model does not know."""
    return f"warning: the model does not know, and passes over: {', '.join(dict.fromkeys(words))}"


def numbers(texts: Iterable[str], **options: float | None) -> dict[str, float]:
    """Numbers for a model by name, from each --set NAME=X and from `options` that are not None. Raises UserError."""
    values = {name: value for name, value in options.items() if value is not None}
    for name, text in named(texts, "--set").items():
        try:
            values[name] = float(text)
        except ValueError:
            raise UserError(f"--set {name} takes a number, not {text!r}") from None
    return values
