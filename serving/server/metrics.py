"""Counters and histograms with the names and labels of TensorFlow Serving, and the page for Prometheus.

Source: tensorflow_serving/util/prometheus_exporter.cc (the text) and the metrics of tensorflow_serving/servables/tensorflow/util.cc,
batching/batching_session.cc and tensorflow/cc/saved_model/metrics.cc (names, labels, buckets).
"""

import bisect
import threading
from collections import defaultdict

# Microseconds: 33 buckets from 10, each 1.8 times the one before.
_LIMITS = tuple(10 * 1.8**power for power in range(33))


class Metrics:
    """All metrics of a server. Safe to use from many threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counters = defaultdict(int)
        self._histograms = defaultdict(lambda: [[0] * (len(_LIMITS) + 1), 0.0])

    def count(self, name: str, **labels: str) -> None:
        """Add one to the counter `name` (in TensorFlow's form, with slashes) with these labels."""
        with self._lock:
            self._counters[name, tuple(labels.items())] += 1

    def observe(self, name: str, microseconds: float, **labels: str) -> None:
        """Add a time to the histogram `name` with these labels."""
        with self._lock:
            histogram = self._histograms[name, tuple(labels.items())]
            histogram[0][bisect.bisect_right(_LIMITS, microseconds)] += 1
            histogram[1] += microseconds

    def page(self) -> str:
        """The text that Prometheus scrapes."""
        with self._lock:
            counters = sorted(self._counters.items())
            histograms = sorted((key, (list(buckets), total)) for key, (buckets, total) in self._histograms.items())
        lines, told = [], set()
        for (name, labels), value in counters:
            lines += _type_line(name, "counter", told)
            lines.append(f"{_name(name)}{{{_labels(labels)}}} {value}")
        for (name, labels), (buckets, total) in histograms:
            lines += _type_line(name, "histogram", told)
            shown, number = _labels(labels), 0
            for limit, inside in zip((*(f"{limit:g}" for limit in _LIMITS), "+Inf"), buckets, strict=True):
                number += inside
                lines.append(f'{_name(name)}_bucket{{{shown},le="{limit}"}} {number}')
            lines.append(f"{_name(name)}_sum{{{shown}}} {total:g}")
            lines.append(f"{_name(name)}_count{{{shown}}} {number}")
        return "\n".join(lines) + "\n"


def _type_line(name, kind, told):
    if name in told:
        return []
    told.add(name)
    return [f"# TYPE {_name(name)} {kind}"]


def _name(name):
    return name.replace("/", ":")


def _labels(labels):
    shown = {name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in labels}
    return ",".join(f'{name}="{value}"' for name, value in shown.items())
