"""What was noted is put back, last change first, and nothing is noted outside a transaction."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from raftstore.state.undo import Undo


@dataclass
class Thing:
    name: str = "before"


def test_changes_are_put_back_last_first():
    undo, mapping, thing, order = Undo(), {"kept": 1, "gone": 2}, Thing(), []
    undo.begin()
    for key, value in (("kept", 3), ("kept", 4), ("new", 5)):
        undo.item(mapping, key)
        mapping[key] = value
    undo.item(mapping, "gone")
    del mapping["gone"]
    undo.attr(thing, "name")
    thing.name = "after"
    undo.step(lambda: order.append("first"))
    undo.step(lambda: order.append("second"))
    undo.rollback()
    assert (mapping, thing.name, order) == ({"kept": 1, "gone": 2}, "before", ["second", "first"])


def test_what_is_kept_is_not_put_back_by_the_next():
    undo, mapping = Undo(), {}
    undo.item(mapping, "a")
    mapping["a"] = 1
    undo.begin()
    undo.item(mapping, "b")
    mapping["b"] = 2
    undo.commit()
    assert not undo.open
    undo.begin()
    undo.rollback()
    assert mapping == {"a": 1, "b": 2}


def test_transactions_do_not_nest():
    undo = Undo()
    undo.begin()
    with pytest.raises(AssertionError):
        undo.begin()
