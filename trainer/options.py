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


PATH = ResolvedPath()
