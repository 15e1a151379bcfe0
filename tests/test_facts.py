"""Facts of the data: what a source knows becomes conditions, chosen by name and kept as JSON."""

import json
import types

import pytest

from data.errors import UserError
from data.facts import Condition, Facts, facts_of

SHOP = types.SimpleNamespace(classes=("hats", "shoes"), attributes={"colour": ["red", "blue"], "style": ("flat",)})


def test_a_source_tells_its_label_first_and_always_and_its_attributes_perhaps():
    facts = facts_of(SHOP)
    assert facts.names == ("label", "colour", "style") and facts.classes == ("hats", "shoes")
    assert [condition.optional for condition in facts] == [False, True, True]
    assert facts.get("colour") == Condition("colour", ("red", "blue"), True) and facts.get("colour").count == 2
    nothing = facts_of(types.SimpleNamespace(classes=()))
    assert not nothing and nothing.classes == () and nothing.get("label") is None


def test_conditions_are_chosen_in_the_order_asked_for():
    assert facts_of(SHOP).select(["style", "label"]).names == ("style", "label")
    with pytest.raises(UserError, match="unknown condition 'size'; have: label, colour, style"):
        facts_of(SHOP).select(["size"])


def test_facts_survive_json():
    facts = facts_of(SHOP)
    assert Facts.from_json(json.loads(json.dumps(facts.to_json()))) == facts
