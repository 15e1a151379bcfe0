"""Builds the rating page, one self-contained HTML file, and its key with the models behind the pictures."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import pages
from trainer.rating.answers import KEY, SCHEMA
from trainer.rating.questions import Question, Side


class Content(NamedTuple):
    """Content of a page: names of `topics` ("" for none), `pictures` by (side, topic), and `sources` by topic, or None."""

    topics: list[str]
    pictures: dict[tuple[Side, int], np.ndarray]
    sources: list[np.ndarray] | None


def build(
    questions: Sequence[Question], gallery: Content, names: Sequence[str], exports: Sequence[str], text: str
) -> tuple[str, dict]:
    """Returns (HTML, key) of a page with questions about systems called `names`, from `exports`; `text` is the question.

    The page refers to pictures by their index in a list, in the order of their first appearance, and does not hold their models. All are
    PNG files from one encoder. The page's id is a hash of its content; answers and key contain it.
    """
    places = {}  # of data URIs, in the order of their first appearance

    def place(picture):
        return places.setdefault(pages.data_uri(picture, lossless=max(picture.shape)), len(places))

    asked = []
    for question in questions:
        row = {"left": place(gallery.pictures[question.left, question.topic])}
        row["right"] = place(gallery.pictures[question.right, question.topic])
        if gallery.sources is not None:
            row["source"] = place(gallery.sources[question.topic])
        asked.append(row | {"subject": gallery.topics[question.topic]})
    identity = hashlib.sha256(json.dumps([text, list(places), asked]).encode()).hexdigest()[:16]
    html = pages.render(
        Path(__file__).with_name("page.html"),
        page=identity,
        text=text,
        pictures=list(places),
        questions=asked,
        sources=gallery.sources is not None,
    )
    key = {
        "schema": SCHEMA,
        "kind": KEY,
        "page": identity,
        "text": text,
        "models": dict(zip(names, exports, strict=True)),
        "questions": [
            {
                "left": names[question.left.system],
                "right": names[question.right.system],
                "subject": gallery.topics[question.topic],
                "repeats": question.repeats,
            }
            for question in questions
        ],
    }
    return html, key
