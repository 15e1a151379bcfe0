"""Counts and latencies of a client's calls, by version and signature, which the server's metrics do not have."""

import bisect
import threading
from dataclasses import dataclass, field
from typing import NamedTuple

# Upper bounds of the buckets, in seconds; the last bucket has none.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_NAME = "packshot_client_request"


class Labels(NamedTuple):
    """`version` is the one that answered; if that is not known, the requested one: a number, a label or ""."""

    model: str
    version: str
    signature: str
    method: str
    code: str


@dataclass
class Tally:
    """Counts of calls with the same labels, of their retries, and the sum of their durations in seconds.

    `buckets` counts them by duration: the first up to BOUNDS[0] seconds, the last above all bounds.
    """

    count: int = 0
    retries: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class ClientMetrics:
    """Metrics of a client: `Labels` -> `Tally`. Safe to use from many threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._tallies = {}

    def observe(self, labels: Labels, seconds: float, *, retries: int = 0) -> None:
        """Count a call that took `seconds`, including its `retries` and the pauses between them."""
        with self._lock:
            tally = self._tallies.setdefault(labels, Tally())
            tally.count += 1
            tally.retries += retries
            tally.seconds += seconds
            tally.buckets[bisect.bisect_left(BOUNDS, seconds)] += 1

    def as_dict(self) -> dict[Labels, Tally]:
        """A copy of all tallies."""
        with self._lock:
            return {
                labels: Tally(tally.count, tally.retries, tally.seconds, list(tally.buckets))
                for labels, tally in self._tallies.items()
            }

    def prometheus(self) -> str:
        """All tallies in Prometheus' text format: a histogram of seconds and a counter of retries."""
        seconds = [
            f"# HELP {_NAME}_seconds How long calls took, retries included.",
            f"# TYPE {_NAME}_seconds histogram",
        ]
        retries = [f"# HELP {_NAME}_retries_total Calls sent again.", f"# TYPE {_NAME}_retries_total counter"]
        for labels, tally in sorted(self.as_dict().items()):
            text = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels._asdict().items())
            below = 0
            for bound, count in zip((*BOUNDS, "+Inf"), tally.buckets, strict=True):
                below += count
                seconds.append(f'{_NAME}_seconds_bucket{{{text},le="{bound}"}} {below}')
            seconds.append(f"{_NAME}_seconds_sum{{{text}}} {tally.seconds!r}")
            seconds.append(f"{_NAME}_seconds_count{{{text}}} {tally.count}")
            retries.append(f"{_NAME}_retries_total{{{text}}} {tally.retries}")
        return "\n".join([*seconds, *retries, ""])


def _escaped(value):
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
