"""Plans the questions of a rating, balanced over systems, sides and topics."""

import random
from typing import NamedTuple

from data.errors import UserError


class Side(NamedTuple):
    """A system (a model, or real pictures) by number, and the index of its picture of the topic, from 0."""

    system: int
    picture: int


class Question(NamedTuple):
    """Two sides, their topic (a class or a photo, by number), and the index of the repeated question, or None."""

    left: Side
    right: Side
    topic: int
    repeats: int | None = None


def plan(systems: int, count: int, repeats: int, topics: int, seed: int) -> list[Question]:
    """Returns `count` different questions in order, and `repeats` of them again, later and with the sides swapped.

    All pairs are equally frequent (the numbers differ by at most 1), and so are the topics of a pair. Each system is on the left about as
    often as on the right. Every prefix of the schedule (before it is shuffled by `seed`) is balanced, so `count` need not be a multiple of
    the number of pairs. No picture of a system is in two different questions. Questions of the first third are repeated in the second half.

    Raises UserError for numbers out of range.
    """
    if systems < 2:
        raise UserError(f"a comparison needs at least two systems, not {systems}")
    if count < 1 or topics < 1 or repeats < 0:
        raise UserError("a page needs at least one question and one topic")
    if repeats > count // 3:
        raise UserError(
            f"{repeats} repeated questions are more than a third of {count}; ask for fewer, or for more questions"
        )
    order = random.Random(seed)
    pairs, numbers = _rounds(systems), list(range(systems))
    order.shuffle(numbers)
    used = {}  # pictures used so far, by system and topic
    questions = []
    for place in range(count):
        lap, at = divmod(place, len(pairs))
        first, second = pairs[at]
        # Sides alternate with each lap, so that each system is on either side about equally often. With an even number of topics they
        # also alternate with each cycle of topics: else a pair would show a topic always in the same order.
        cycle = lap // topics if topics % 2 == 0 else 0
        if (lap + cycle + first + second) % 2:
            first, second = second, first
        topic = (lap + at) % topics
        sides = []
        for system in (numbers[first], numbers[second]):
            sides.append(Side(system, used.get((system, topic), 0)))
            used[system, topic] = sides[-1].picture + 1
        questions.append(Question(*sides, topic))
    order.shuffle(questions)
    return _with_repeats(questions, repeats, order)


def _rounds(systems):
    """Returns all pairs (i < j), in rounds in which each system occurs once (the circle method)."""
    circle = list(range(systems + systems % 2))  # for an odd number, the partner of the last one pauses
    pairs = []
    for _ in range(len(circle) - 1):
        met = zip(circle, reversed(circle[len(circle) // 2 :]), strict=False)
        pairs += [(min(pair), max(pair)) for pair in met if max(pair) < systems]
        circle[1:] = circle[-1:] + circle[1:-1]
    return pairs


def _with_repeats(questions, repeats, order):
    asked_again = sorted(order.sample(range(len(questions) // 3), repeats)) if repeats else []
    places = sorted(order.sample(range(len(questions) // 2, len(questions)), repeats)) if repeats else []
    # From the back, so that earlier indices stay valid; the repeated questions come before all of them.
    for old, place in reversed(list(zip(asked_again, places, strict=True))):
        left, right, topic, _ = questions[old]
        questions.insert(place + 1, Question(right, left, topic, old))
    return questions
