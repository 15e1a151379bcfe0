"""Which two contestants each question shows, on which sides and about what; fair to all of them."""

import random
from typing import NamedTuple

from data.errors import UserError


class Side(NamedTuple):
    """A contestant by number, and which of its pictures of the subject: 0 is the first."""

    contestant: int
    picture: int


class Question(NamedTuple):
    """Two sides, the subject they share (a category or a photo, by number), and the place of the question this one repeats, or None."""

    left: Side
    right: Side
    subject: int
    repeats: int | None = None


def plan(contestants: int, count: int, repeats: int, subjects: int, seed: int) -> list[Question]:
    """`count` different questions in the order in which they are asked, and `repeats` of them again, later and with the sides swapped.

    Every pair is asked about equally often (the numbers differ by at most 1), and so is every subject of a pair; each contestant stands on
    the left about as often as on the right; every prefix of the schedule (before it is shuffled by `seed`) treats the contestants alike,
    so a `count` that the pairs do not divide does little harm. No picture of a contestant is shown in two different questions. Repeated
    are questions of the first third, in the second half.

    Raises UserError when a number makes no sense.
    """
    if contestants < 2:
        raise UserError(f"a comparison needs at least two contestants, not {contestants}")
    if count < 1 or subjects < 1 or repeats < 0:
        raise UserError("a page needs at least one question and one subject")
    if repeats > count // 3:
        raise UserError(
            f"{repeats} repeated questions are more than a third of {count}; ask for fewer, or for more questions"
        )
    order = random.Random(seed)
    pairs, numbers = _rounds(contestants), list(range(contestants))
    order.shuffle(numbers)
    shown = {}  # pictures of a contestant and subject that are taken
    questions = []
    for place in range(count):
        lap, at = divmod(place, len(pairs))
        first, second = pairs[at]
        # Turned every lap, so that within a lap each contestant is on either side about equally often, and, where the subjects are of
        # even number, once more when they begin anew: else a pair would show a subject always the same way round.
        anew = lap // subjects if subjects % 2 == 0 else 0
        if (lap + anew + first + second) % 2:
            first, second = second, first
        subject = (lap + at) % subjects
        sides = []
        for contestant in (numbers[first], numbers[second]):
            sides.append(Side(contestant, shown.get((contestant, subject), 0)))
            shown[contestant, subject] = sides[-1].picture + 1
        questions.append(Question(*sides, subject))
    order.shuffle(questions)
    return _with_repeats(questions, repeats, order)


def _rounds(contestants):
    """All pairs (i < j), in rounds in which nobody is met twice: one stays and the others move on (the circle method)."""
    circle = list(range(contestants + contestants % 2))  # of an odd number, who meets the last one pauses
    pairs = []
    for _ in range(len(circle) - 1):
        met = zip(circle, reversed(circle[len(circle) // 2 :]), strict=False)
        pairs += [(min(pair), max(pair)) for pair in met if max(pair) < contestants]
        circle[1:] = circle[-1:] + circle[1:-1]
    return pairs


def _with_repeats(questions, repeats, order):
    asked_again = sorted(order.sample(range(len(questions) // 3), repeats)) if repeats else []
    places = sorted(order.sample(range(len(questions) // 2, len(questions)), repeats)) if repeats else []
    # From the back, so that the places in front stay as they are; what is repeated stands before all of them.
    for old, place in reversed(list(zip(asked_again, places, strict=True))):
        left, right, subject, _ = questions[old]
        questions.insert(place + 1, Question(right, left, subject, old))
    return questions
