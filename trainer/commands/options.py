"""Kinds of options that several commands share."""

import click

from data import files
from data.errors import UserError
from trainer.runs import config


class ResolvedPath(click.ParamType):
    """A file or folder, local or gs://: ~ is expanded, and a scheme that nothing here can read is refused."""

    name = "path"

    def convert(self, value, param, ctx):
        if not value:
            self.fail("the path is empty; . is the current folder", param, ctx)
        try:
            return files.resolve(value)
        except (files.UnknownScheme, files.UnknownHome) as error:
            self.fail(str(error), param, ctx)


class ModelName(click.ParamType):
    """The name of a model to be exported: one that a server can serve."""

    name = "name"

    def convert(self, value, param, ctx):
        from serving.export import layout

        try:
            return layout.check_name(value)
        except layout.BadName as error:
            self.fail(str(error), param, ctx)


class Whole(click.IntRange):
    """A whole number as settings are written: 8, 8.0, 1e3 and 10_000 too."""

    def convert(self, value, param, ctx):
        return super().convert(_read(self, value, int, param, ctx), param, ctx)


class Number(click.FloatRange):
    """A finite number as settings are written."""

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
VERSION = click.IntRange(0, 2**63 - 1)  # as a server counts them
