"""The page that asks, one HTML file that needs and knows nothing else, and the key that says what it showed."""

import base64
import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence

import numpy as np
from jinja2 import Environment, StrictUndefined

from data.images import encode_png
from trainer.rating.answers import KEY, SCHEMA
from trainer.rating.questions import Question, Side


def build(
    questions: Sequence[Question],
    names: Sequence[str],
    exports: Sequence[str],
    pictures: Mapping[tuple[Side, int], np.ndarray],
    subjects: Sequence[str],
    sources: Sequence[np.ndarray] | None,
    text: str,
) -> tuple[str, dict]:
    """(the page's HTML, the key) of questions about contestants with `names`, which came from `exports`.

    Args:
        pictures: uint8 [height, width, 3] of each (side, subject) of the questions.
        subjects: what to call each subject on the page; "" for nothing.
        sources: for models that make pictures from pictures, what each subject is made from, uint8 [height, width, 3]; else None.
        text: what is asked.

    In the page a picture is its place in a list, in the order in which they are seen; nothing in it says who made which. All are PNG files
    by one encoder. The page's id is a hash of all it shows; answers and key carry it.
    """
    shown = {}  # data URI -> its place

    def place(picture):
        encoded = base64.b64encode(encode_png(picture)).decode()
        return shown.setdefault(f"data:image/png;base64,{encoded}", len(shown))

    asked = []
    for question in questions:
        row = {"left": place(pictures[question.left, question.subject])}
        row["right"] = place(pictures[question.right, question.subject])
        if sources is not None:
            row["source"] = place(sources[question.subject])
        asked.append(row | {"subject": subjects[question.subject]})
    identity = hashlib.sha256(json.dumps([text, list(shown), asked]).encode()).hexdigest()[:16]
    template = importlib.resources.files("trainer.rating").joinpath("page.html").read_text("utf-8")
    html = (
        Environment(autoescape=True, undefined=StrictUndefined)
        .from_string(template)
        .render(page=identity, text=text, pictures=list(shown), questions=asked, sources=sources is not None)
    )
    key = {
        "schema": SCHEMA,
        "kind": KEY,
        "page": identity,
        "text": text,
        "models": dict(zip(names, exports, strict=True)),
        "questions": [
            {
                "left": names[question.left.contestant],
                "right": names[question.right.contestant],
                "subject": subjects[question.subject],
                "repeats": question.repeats,
            }
            for question in questions
        ],
    }
    return html, key
