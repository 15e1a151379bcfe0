"""Kinds of options that several commands share."""

import click

from data import files


class ResolvedPath(click.ParamType):
    """A file or folder, local or gs://: ~ is expanded, and a scheme that nothing here can read is refused."""

    name = "path"

    def convert(self, value, param, ctx):
        try:
            return files.resolve(value)
        except files.UnknownScheme as error:
            self.fail(str(error), param, ctx)


class ModelName(click.ParamType):
    """The name of a model to be exported: one that a server can serve."""

    name = "name"

    def convert(self, value, param, ctx):
        from serving import layout

        try:
            return layout.check_name(value)
        except layout.BadName as error:
            self.fail(str(error), param, ctx)


PATH, MODEL_NAME = ResolvedPath(), ModelName()
VERSION = click.IntRange(0, 2**63 - 1)  # as a server counts them
