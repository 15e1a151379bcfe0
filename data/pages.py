"""Renders self-contained HTML pages: one head, one style, pictures as data URIs; nothing is loaded.

A page's template extends `base.html`, which lies beside this file, and fills the blocks `title`, `style` (what only this page
needs), `body` and, if it runs scripts, `policy` (of its Content-Security-Policy).
"""

import base64
import functools
from pathlib import Path

import numpy as np

from data.images import encode_jpeg, encode_png

_LOSSLESS = 128  # px: larger pictures are kept as JPEG, or a page grows beyond what opens quickly
_QUALITY = 92


def render(template: Path, **values) -> str:
    """HTML of a template file with those values. Every value is escaped, and a missing one is an error."""
    return _environment(template.parent).get_template(template.name).render(**values)


def data_uri(picture: np.ndarray, *, lossless: int = _LOSSLESS, quality: int = _QUALITY) -> str:
    """A uint8 [height, width, 3] picture as a data URI: PNG where no side is longer than `lossless` px, else JPEG."""
    small = max(picture.shape[:2]) <= lossless
    kind, content = ("png", encode_png(picture)) if small else ("jpeg", encode_jpeg(picture, quality))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@functools.cache
def _environment(folder):
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = "{:,}".format
    environment.filters["percent"] = "{:.1%}".format
    return environment
