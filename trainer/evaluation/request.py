"""What the user asks of an evaluation."""

from dataclasses import dataclass

from data.held_out import sibling_split
from trainer.runs.config import RunConfig


@dataclass(frozen=True)
class Request:
    """data: source to measure with; None: what suits the task. held_out: real pictures not trained on; None: the split beside what was
    trained on, if there is one. count: pictures at most. seed: of the first made picture. truncation: of made pictures.
    lpips: `trainer.features.lpips.Lpips` that pairs are measured by too, or None."""

    data: str | None = None
    held_out: str | None = None
    count: int | None = None
    seed: int = 0
    truncation: float = 1.0
    lpips: object = None

    def held_out_of(self, run: RunConfig) -> str | None:
        """The source of pictures that the run was not trained on."""
        return self.held_out or sibling_split(run.data)
