"""Options of an evaluation."""

from dataclasses import dataclass

from data.held_out import sibling_split
from trainer.runs.config import RunConfig


@dataclass(frozen=True)
class Request:
    """Options of an evaluation.

    data: source to measure with; None: by task. held_out: real pictures not trained on; None: the sibling split, if there is one. count:
    pictures at most. seed: of the first made picture. truncation: of made pictures. attributes: whether to measure if they show what was
    asked for. lpips: `trainer.features.lpips.Lpips` for pairs, or
    None.
    """

    data: str | None = None
    held_out: str | None = None
    count: int | None = None
    seed: int = 0
    truncation: float = 1.0
    attributes: bool = False
    lpips: object = None

    def held_out_of(self, run: RunConfig) -> str | None:
        """Returns the source of held-out pictures of a run."""
        return self.held_out or sibling_split(run.data)
