"""The report as one HTML page: every picture is inside it, nothing is loaded, and no script runs."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from data import pages
from data.images import BadPicture
from data.inspection.findings import Finding
from data.inspection.inventory import Inventory
from data.inspection.kinds import KINDS
from data.inspection.report import shown
from data.inspection.survey import picture_of
from data.progress import Progress, silent
from data.sources.parallel import ordered_map

SIDE = 160  # px, of the pictures in the page
_FINDINGS = 60  # shown of a kind, the worst: an eye tires, and a page of 5 MB still opens
_PICTURES = 6  # shown of a finding
_QUALITY = 80


def page(
    inventory: Inventory,
    found: Sequence[Finding],
    report: dict,
    *,
    progress: Progress = silent,
) -> str:
    """HTML of `report` (see report.as_values), with the pictures of the worst findings of each kind."""
    kinds = [(kind, list(group)) for kind, group in groupby(found, key=lambda finding: finding.kind)]
    names = {name for _, group in kinds for finding in group[:_FINDINGS] for name in finding.pictures[:_PICTURES]}
    uris = _data_uris(inventory, names, progress)
    classes = sorted({label for counts in report["splits"].values() for label in counts})
    sections = [_section(kind, group, uris) for kind, group in kinds]
    return pages.render(
        Path(__file__).with_name("page.html"), report=report, classes=classes, side=SIDE, sections=sections
    )


def _section(kind, group, uris):
    return {
        "kind": kind,
        "severity": KINDS[kind].severity,
        "title": KINDS[kind].title,
        "meaning": KINDS[kind].meaning,
        "count": len(group),
        "findings": [_card(finding, uris) for finding in group[:_FINDINGS]],
        "more": max(0, len(group) - _FINDINGS),
    }


def _card(finding, uris):
    box = None
    if finding.box:
        left, top, right, bottom = (round(100 * edge, 2) for edge in finding.box)
        box = {"left": left, "top": top, "width": round(right - left, 2), "height": round(bottom - top, 2)}
    return {
        "reason": shown(finding.reason),
        "pictures": [{"name": shown(name), "uri": uris.get(name), "box": box} for name in finding.pictures[:_PICTURES]],
        "more": max(0, len(finding.pictures) - _PICTURES),
    }


def _data_uris(inventory, wanted, progress):
    """{name: data URI of a small JPEG} of the wanted pictures that can be read."""

    def small(item):
        entry, load = item
        try:
            return entry.name, pages.data_uri(picture_of(load(), SIDE), lossless=0, quality=_QUALITY)
        except (BadPicture, OSError):
            return entry.name, None

    return dict(progress(ordered_map(small, inventory.pictures(wanted)), len(wanted), "drawing"))
