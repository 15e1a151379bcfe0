"""Output of all commands: sentences on standard error."""

import click

CONTEXT = {"show_default": True, "max_content_width": 110}


def say(sentence: str) -> None:
    """Prints a line for the user on standard error."""
    click.echo(sentence, err=True)
