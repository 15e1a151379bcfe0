"""Plans the questions of a rating: two systems each, on which sides and about what; fair to all of them."""

import random
from typing import NamedTuple

from data.errors import UserError


class Side(NamedTuple):
    """A system (a model, or real pictures) by number, and which of its pictures of the topic: 0 is the first."""

    system: int
    picture: int


class Question(NamedTuple):
    """Two sides, the topic they share (a category or a photo, by number), and the place of the question this one repeats, or None."""

    left: Side
    right: Side
    topic: int
    repeats: int | None = None


def plan(systems: int, count: int, repeats: int, topics: int, seed: int) -> list[Question]:
    """`count` different questions in the order in which they are asked, and `repeats` of them again, later and with the sides swapped.

    Every pair is asked about equally often (the numbers differ by at most 1), and so is every topic of a pair; each system stands on
    the left about as often as on the right; every prefix of the schedule (before it is shuffled by `seed`) treats the systems alike,
    so a `count` that the pairs do not divide does little harm. No picture of a system is taken in two different questions. Repeated
    are questions of the first third, in the second half.

    Raises UserError when a number makes no sense.
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
    taken = {}  # pictures of a system and topic that are taken
    questions = []
    for place in range(count):
        lap, at = divmod(place, len(pairs))
        first, second = pairs[at]
        # Turned every lap, so that within a lap each system is on either side about equally often, and, where the topics are of
        # even number, once more when they begin anew: else a pair would show a topic always the same way round.
        anew = lap // topics if topics % 2 == 0 else 0
        if (lap + anew + first + second) % 2:
            first, second = second, first
        topic = (lap + at) % topics
        sides = []
        for system in (numbers[first], numbers[second]):
            sides.append(Side(system, taken.get((system, topic), 0)))
            taken[system, topic] = sides[-1].picture + 1
        questions.append(Question(*sides, topic))
    order.shuffle(questions)
    return _with_repeats(questions, repeats, order)


def _rounds(systems):
    """All pairs (i < j), in rounds in which nobody is met twice: one stays and the others move on (the circle method)."""
    circle = list(range(systems + systems % 2))  # of an odd number, who meets the last one pauses
    pairs = []
    for _ in range(len(circle) - 1):
        met = zip(circle, reversed(circle[len(circle) // 2 :]), strict=False)
        pairs += [(min(pair), max(pair)) for pair in met if max(pair) < systems]
        circle[1:] = circle[-1:] + circle[1:-1]
    return pairs


def _with_repeats(questions, repeats, order):
    asked_again = sorted(order.sample(range(len(questions) // 3), repeats)) if repeats else []
    places = sorted(order.sample(range(len(questions) // 2, len(questions)), repeats)) if repeats else []
    # From the back, so that the places in front stay as they are; what is repeated stands before all of them.
    for old, place in reversed(list(zip(asked_again, places, strict=True))):
        left, right, topic, _ = questions[old]
        questions.insert(place + 1, Question(right, left, topic, old))
    return questions
