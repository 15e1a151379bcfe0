"""Ranks models that were measured in the same way, with the errors of their differences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.errors import UserError
from trainer.evaluation.report import SCHEMA, Evaluation, as_values
from trainer.metrics.estimate import Estimate, format_estimate, of_mean
from trainer.metrics.table import better

_TELL = 2  # errors; a smaller difference is not significant


@dataclass(frozen=True)
class Comparison:
    """Models, the best by the headline first.

    leads[i]: how much better model i is than model i + 1. ratings: from `packshot rate score`, or None.
    """

    evaluations: Sequence[Evaluation]
    names: Sequence[str]
    leads: Sequence[Estimate]
    ratings: dict | None

    @property
    def headline(self) -> str:
        """Name of the measure that ranks."""
        return self.evaluations[0].headline

    def sentences(self) -> list[str]:
        """Returns the ranking in words, one sentence for each place."""
        sentences = []
        for place, (evaluation, name) in enumerate(zip(self.evaluations, self.names, strict=True)):
            sentence = f"{place + 1}. {name}: {format_estimate(evaluation.metrics[self.headline])}"
            if place < len(self.leads):
                lead, after = self.leads[place], self.names[place + 1]
                if lead.value >= _TELL * lead.error:
                    sentence += f", better than {after} by {format_estimate(lead)}"
                else:
                    sentence += f", not distinguishable from {after} ({format_estimate(lead)})"
            sentences.append(f"{sentence}.")
        return sentences

    def as_values(self) -> dict:
        """Returns the content of the JSON file."""
        return {
            "schema": SCHEMA,
            "headline": self.headline,
            "ranking": list(self.names),
            "leads": [{"value": lead.value, "error": lead.error} for lead in self.leads],
            "sentences": self.sentences(),
            "ratings": self.ratings,
            "evaluations": {name: as_values(e) for name, e in zip(self.names, self.evaluations, strict=True)},
        }


def compare(evaluations: Sequence[Evaluation], names: Sequence[str], *, ratings: dict | None = None) -> Comparison:
    """Ranks models, called `names`, by their headline. Raises UserError if they have different headlines."""
    first = evaluations[0]
    for other in evaluations[1:]:
        if list(other.metrics)[0] != first.headline:
            raise UserError(
                f"{first.model.name} is measured by {first.headline} and {other.model.name} by {other.headline}:"
                " they do not compare"
            )
    sign = better(first.headline)
    order = sorted(range(len(names)), key=lambda i: -sign * evaluations[i].metrics[first.headline].value)
    ranked = [evaluations[i] for i in order]
    leads = [_lead(a, b, first.headline, sign) for a, b in zip(ranked, ranked[1:], strict=False)]
    return Comparison(ranked, [names[i] for i in order], leads, ratings)


def _lead(a, b, headline, sign):
    """Returns how much better `a` is: for pairs the mean of their differences; for sets with an error that is too large, since both share
    the real pictures."""
    if headline in a.each:
        with np.errstate(invalid="ignore"):
            return of_mean(sign * (a.each[headline] - b.each[headline]))
    (first, error), (second, other) = a.metrics[headline], b.metrics[headline]
    return Estimate(sign * (first - second), math.hypot(error, other))
