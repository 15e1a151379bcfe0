"""A label is a name, and a number only where nothing has that name."""

import pytest

from serving.wire import class_names


@pytest.mark.parametrize(
    "label, names, number",
    [
        ("shoes", ["bags", "shoes"], 1),
        ("1", ["bags", "shoes"], 1),
        ("2", ["1", "2", "3"], 1),  # the class of that name
        ("10", ["1", "10", "2", "3"], 1),
        (2, ["1", "2", "3"], 2),
        ("0", ["1", "2", "3"], 0),
        ("17", (), 17),
        ("0017", (), 17),
    ],
)
def test_a_name_comes_before_a_number(label, names, number):
    assert class_names.number(label, names) == number


@pytest.mark.parametrize("label", ["boots", "Shoes", "", "2", 2, -1, "-1", "1.0", "²", "9" * 30, "9" * 5000])
def test_anything_else_is_refused_with_the_names_there_are(label):
    with pytest.raises(ValueError, match="unknown label .*; have: bags, shoes$"):
        class_names.number(label, ("bags", "shoes"))


@pytest.mark.parametrize("label", ["boots", str(2**63), "9" * 5000])
def test_without_names_it_is_a_number_that_a_request_can_hold(label):
    with pytest.raises(ValueError, match="have: numbers from 0"):
        class_names.number(label)


def test_a_sentence_lists_some_of_many_names():
    assert class_names.listed([str(n) for n in range(1000)], most=3) == "0, 1, 2 and 997 more"
