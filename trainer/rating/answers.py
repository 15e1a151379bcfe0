"""Reads keys and answers of rating pages, and computes ratings."""

import datetime
import json
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from data import files
from data.errors import UserError
from trainer.metrics.preference import preference

SCHEMA = 1
KEY, ANSWERS, RATINGS = "packshot rating key", "packshot rating answers", "packshot ratings"
POINTS = {"left": 1.0, "tie": 0.5, "right": 0.0}
_SWAPPED = {"left": "right", "tie": "tie", "right": "left"}


class AnswerFile(NamedTuple):
    """Answers of one rater: "left", "right", "tie" or None for each question; `session` identifies the browser, drawn by the page."""

    path: str
    rater: str
    session: str
    saved: datetime.datetime
    answers: list[str | None]


def read_key(path: str) -> dict:
    """Reads the key of a page, as built by `page.build`. Raises UserError or OSError for other files."""
    key = _read(path, KEY)
    try:
        models, questions = dict(key["models"]), list(key["questions"])
        for place, question in enumerate(questions):
            repeated = question["repeats"]
            good = {question["left"], question["right"]} <= models.keys() and question["left"] != question["right"]
            good &= repeated is None or (type(repeated) is int and 0 <= repeated < place)
            if not good:
                raise UserError(f"question {place + 1}")
        if len(models) < 2 or not questions or not isinstance(key["page"], str):
            raise UserError("too few models or questions")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a complete key of a page ({error})") from error
    return key


def read_answers(path: str, key: dict) -> AnswerFile:
    """Reads the answers of one rater to the page of `key`. Raises UserError or OSError if they are of another page, or damaged."""
    content = _read(path, ANSWERS)
    if content.get("page") != key["page"]:
        raise UserError(f"{path}: answers to another page ({content.get('page')}); the key is of {key['page']}")
    try:
        answer_file = AnswerFile(
            path,
            " ".join("".join(filter(str.isprintable, content["rater"])).split()),
            str(content["session"]),
            datetime.datetime.fromisoformat(content["saved"]),
            list(content["answers"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: not a complete file of answers ({error})") from error
    if answer_file.saved.tzinfo is None:
        raise UserError(f"{path}: the time {content['saved']} has no zone")
    if len(answer_file.answers) != len(key["questions"]):
        raise UserError(f"{path}: {len(answer_file.answers)} answers to {len(key['questions'])} questions")
    wrong = [answer for answer in answer_file.answers if answer is not None and answer not in list(POINTS)]
    if wrong:
        raise UserError(f"{path}: {wrong[0]!r} is no answer; known: {', '.join(POINTS)}")
    return answer_file


def read_ratings(path: str) -> dict:
    """Reads a file of `ratings`. Raises UserError or OSError for other files."""
    content = _read(path, RATINGS)
    fields = {"score", "low", "high", "wins", "ties", "losses"}
    models = content.get("models")
    if not isinstance(models, dict) or not all(isinstance(m, dict) and fields <= m.keys() for m in models.values()):
        raise UserError(f"{path}: incomplete ratings: each model should have {', '.join(sorted(fields))}")
    return content


def _read(path, kind):
    try:
        content = json.loads(files.read(path))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    have = content.get("kind") if isinstance(content, dict) else None
    if have != kind:
        raise UserError(f"{path}: not a {kind}" + (f", but a {have}" if have else ""))
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema {content.get('schema')!r}; this program reads {SCHEMA}")
    return content


def newest(answer_files: Iterable[AnswerFile]) -> tuple[list[AnswerFile], list[AnswerFile]]:
    """Returns (files that count, files replaced by a later one of the same rater), both in the given order.

    Two files are of one rater if they have the same session or the same name, in any case.
    """
    answer_files = list(answer_files)
    seen, counting = set(), set()
    for place in sorted(range(len(answer_files)), key=lambda place: answer_files[place].saved, reverse=True):
        answer_file = answer_files[place]
        marks = {("session", answer_file.session)} | (
            {("name", answer_file.rater.casefold())} if answer_file.rater else set()
        )
        if not marks & seen:
            counting.add(place)
        seen |= marks
    return (
        [answer_file for place, answer_file in enumerate(answer_files) if place in counting],
        [answer_file for place, answer_file in enumerate(answer_files) if place not in counting],
    )


def ratings(key: dict, answer_files: list[AnswerFile]) -> dict:
    """Returns ratings from the answers, as written by `packshot rate score` and described in docs/rating.md.

    Repeated questions count only for consistency, if both were answered. Raises UserError if there are no answers.
    """
    names, questions = list(key["models"]), key["questions"]
    choices = [
        (rater, place, answer)
        for rater, answer_file in enumerate(answer_files)
        for place, answer in enumerate(answer_file.answers)
        if answer is not None
    ]
    counted = [row for row in choices if questions[row[1]]["repeats"] is None]
    if not counted:
        raise UserError("nobody has answered a question")
    rater, place, answer = (np.array(column) for column in zip(*counted, strict=True))
    left, right = (np.array([names.index(questions[at][side]) for at in place]) for side in ("left", "right"))
    points = np.array([POINTS[choice] for choice in answer])
    scored = preference(left, right, points, len(names), groupings=(rater, place))

    models = {}
    for number, name in enumerate(names):
        own = Counter(np.concatenate([points[left == number], 1 - points[right == number]]).tolist())
        models[name] = {
            "score": float(scored.score[number]),
            "low": float(scored.low[number]),
            "high": float(scored.high[number]),
            "wins": own[1.0],
            "ties": own[0.5],
            "losses": own[0.0],
        }
    people = [_person(questions, answer_file) for answer_file in answer_files]
    return {
        "schema": SCHEMA,
        "kind": RATINGS,
        "page": key["page"],
        "models": models,
        "raters": len(answer_files),
        "answers": len(counted),
        "questions": len(set(place.tolist())),
        "consistency": {what: sum(person[what] for person in people) for what in ("repeated", "same", "opposite")},
        "left": sum(choice == "left" for *_, choice in choices),
        "right": sum(choice == "right" for *_, choice in choices),
        "people": people,
    }


def _person(questions, answer_file):
    both = [
        (answer_file.answers[question["repeats"]], answer)
        for question, answer in zip(questions, answer_file.answers, strict=True)
        if question["repeats"] is not None
        and answer is not None
        and answer_file.answers[question["repeats"]] is not None
    ]
    return {
        "rater": answer_file.rater,
        "answers": sum(
            answer is not None and question["repeats"] is None
            for question, answer in zip(questions, answer_file.answers, strict=True)
        ),
        "repeated": len(both),
        "same": sum(first == _SWAPPED[again] for first, again in both),
        "opposite": sum(first == again != "tie" for first, again in both),
    }
