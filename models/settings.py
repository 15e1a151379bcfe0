"""Checks of hyperparameters that families share."""

import dataclasses

from data.errors import UserError

POSITIVE = ("resolution", "batch_size", "images", "critic_steps", "penalty_every")  # what every family calls so


def check_numbers(config, *positive: str) -> None:
    """Check the numbers of a family's config, those in tuples too: 0 or more, and 1 or more in `POSITIVE` and the fields named `positive`.

    Raises UserError with the field's name.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        least = 1 if field.name in POSITIVE + positive else 0
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not number >= least:  # so that nan is refused too
                raise UserError(f"{field.name} must be {least} or more, not {number}")
