"""Small catalogues of drawn products with the grain of a camera, for the tests of `packshot inspect`."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.defects import saved
from data.catalogue import open_source
from data.inspection import inventory
from data.inspection.findings import find_defects
from data.inspection.survey import survey

SIDE = 240


@cache
def products() -> list[Image.Image]:
    """Twenty-four sharp, well lit pictures, no two alike."""
    random = np.random.default_rng(0)
    return [
        Image.fromarray(np.clip(e["image"] + random.normal(0, 3, e["image"].shape), 0, 255).astype(np.uint8))
        for e in open_source("studio:24").examples(SIDE)
    ]


def product(number: int) -> Image.Image:
    return products()[number].copy()


def put(path: Path, content: bytes | Image.Image) -> Path:
    """Write a file, a picture as JPEG, and make its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else saved(content))
    return path


def inspected(spec):
    """Inventory, records and findings."""
    taken = inventory.take(str(spec))
    records = survey(taken)
    return taken, records, find_defects(taken, records)


def of_kind(findings, kind):
    return [(finding.pictures, finding.reason) for finding in findings if finding.kind == kind]
