"""The whole inspection as plain values, in a stable form: see `docs/data.md`."""

import os
from collections import Counter
from collections.abc import Sequence

import numpy as np

from data.inspection import findings as judged
from data.inspection import thresholds
from data.inspection.findings import Finding
from data.inspection.inventory import Inventory
from data.inspection.kinds import KINDS
from data.inspection.survey import Record

SCHEMA = 1  # raised when a field changes its meaning or goes; new fields may come without


def as_values(
    inventory: Inventory, records: Sequence[Record], found: Sequence[Finding], verdict: list[str], kept: int
) -> dict:
    """Returns what `--json` writes: dicts, lists, strings and numbers only."""
    good = [record for record in records if record.readable]
    counts = Counter(finding.kind for finding in found)
    return {
        "schema": SCHEMA,
        "data": shown(inventory.spec),
        "verdict": verdict,
        "pictures": {"total": len(records) + len(inventory.unread), "readable": len(good), "kept": kept},
        "splits": {split or "all": classes for split, classes in judged.class_counts(records).items()},
        "sizes": _sizes(good),
        "formats": dict(Counter(record.header.format for record in good if record.header).most_common()),
        "modes": dict(Counter(record.header.mode for record in good if record.header).most_common()),
        "backgrounds": {kind: round(share, 4) for kind, share in judged.background_shares(records).items()},
        "counts": {kind: counts[kind] for kind in KINDS},
        "findings": [
            {
                "kind": finding.kind,
                "severity": finding.severity,
                "pictures": [shown(name) for name in finding.pictures],
                "reason": shown(finding.reason),
                "score": round(finding.score, 4),
                "box": [round(edge, 4) for edge in finding.box] if finding.box else None,
            }
            for finding in found
        ],
        "thresholds": {
            name: {"value": float(value), "unit": value.unit, "reason": value.reason}
            for name, value in thresholds.ALL.items()
        },
    }


def _sizes(good):
    if not good:
        return None
    sides = np.array([(record.width, record.height) for record in good])
    return {
        name: dict(zip(("width", "height"), map(int, function(sides, axis=0)), strict=True))
        for name, function in (("smallest", np.min), ("median", np.median), ("largest", np.max))
    }


def shown(text: str) -> str:
    """A text for people: bytes of a file name that are no UTF-8, and what would move a cursor, as escapes."""
    readable = os.fsencode(text).decode(errors="backslashreplace")
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in readable)
