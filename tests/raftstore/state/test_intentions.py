"""Precedence, matching, and single intentions inside entries."""

from __future__ import annotations

from typing import Any

import pytest

from raftstore.commands import Applied, DeleteIntention, Rejected, SetIntention
from raftstore.entries.intentions import precedence
from raftstore.queries import GetIntention, ListIntentions, MatchIntentions
from raftstore.records import IntentionSource
from raftstore.state import StateMachine


class Book:
    def __init__(self) -> None:
        self.state = StateMachine()
        self.index = 1

    def put(self, source: str, destination: str, action: str = "allow", **more: Any):
        mode = more.pop("mode", "upsert")
        return self.do(
            SetIntention(
                destination=destination,
                source=IntentionSource(name=source, action=action, **more),
                mode=mode,
            )
        )

    def do(self, command: SetIntention | DeleteIntention):
        self.index += 1
        self.state.touched()
        outcome = self.state.apply(self.index, 0.0, command)
        self.state.check()
        return outcome

    def match(self, by: str, name: str) -> list[tuple[str, str, int]]:
        return [
            (i.source.name, i.destination, i.source.precedence)
            for i in self.state.answer(MatchIntentions(by, (name,))).value[name]
        ]

    def get(self, **how: str):
        return self.state.answer(GetIntention(**how)).value


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.mark.parametrize(
    ("source", "destination", "rank"),
    [("api", "web", 9), ("*", "web", 8), ("api", "*", 6), ("*", "*", 5)],
)
def test_an_exact_destination_outranks_an_exact_source(source, destination, rank):
    assert precedence(source, destination) == rank


def test_matches_are_what_bears_on_a_name_winner_first(book):
    """The recorded case: mon -> web is denied although mon is allowed everywhere."""
    book.put("*", "web", "deny")
    book.put("api", "web")
    book.put("*", "*", "deny")
    book.put("mon", "*")
    assert book.match("destination", "web") == [
        ("api", "web", 9),
        ("*", "web", 8),
        ("mon", "*", 6),
        ("*", "*", 5),
    ]
    assert book.match("destination", "db") == [("mon", "*", 6), ("*", "*", 5)]
    assert book.match("destination", "*") == [("mon", "*", 6), ("*", "*", 5)]
    assert book.match("source", "api") == [("api", "web", 9), ("*", "web", 8), ("*", "*", 5)]
    assert book.match("source", "mon") == [("*", "web", 8), ("mon", "*", 6), ("*", "*", 5)]


def test_equal_ranks_are_ordered_by_source_then_destination(book):
    for source, destination in (("b", "y"), ("b", "x"), ("a", "z")):
        book.put(source, destination)
    listed = book.state.answer(ListIntentions()).value
    assert [(i.source.name, i.destination) for i in listed] == [("a", "z"), ("b", "x"), ("b", "y")]


def test_sources_are_stored_by_rank_and_else_in_the_order_they_came(book):
    for source in ("*", "b", "a"):
        book.put(source, "web")
    (entry,) = book.state.intentions.rows()
    assert [source.name for source in entry.sources] == ["b", "a", "*"]


def test_names_match_without_case(book):
    book.put("Api", "Web")
    assert book.match("destination", "web") == [("Api", "Web", 9)]
    assert book.match("source", "API") == [("Api", "Web", 9)]
    book.put("api", "WEB", "deny")
    assert book.get(source="API", destination="web").source.action == "deny"
    assert len(book.state.answer(ListIntentions()).value) == 1


def test_putting_the_same_again_raises_no_index(book):
    book.put("api", "web")
    assert book.put("api", "web") == Applied(3)
    assert book.state.answer(ListIntentions()).index == 2
    assert book.state.touched() == frozenset()


def test_an_intention_has_the_indexes_of_its_entry(book):
    book.put("a", "web")
    book.put("b", "web")
    intention = book.get(source="a", destination="web")
    assert (intention.create_index, intention.modify_index) == (2, 3)


def test_creating_a_pair_twice_is_refused_at_the_place_it_would_have(book):
    book.put("*", "web", mode="create", legacy_id="u0")
    book.put("a", "web", mode="create", legacy_id="u1")
    assert book.put("a", "web", mode="create", legacy_id="u2") == Rejected(
        4, 'Sources[1] defines "a" more than once'
    )
    assert book.put("*", "web", mode="create") == Rejected(
        5, 'Sources[2] defines "*" more than once'
    )


def test_an_update_by_id_keeps_id_and_creation_and_may_rename_the_source(book):
    book.put("a", "web", "deny", mode="create", legacy_id="u1", legacy_create_time="t1")
    book.put("b", "web", mode="update", legacy_id="u1", legacy_update_time="t2")
    assert book.get(source="a", destination="web") is None
    source = book.get(legacy_id="u1").source
    assert (source.name, source.action) == ("b", "allow")
    assert (source.legacy_create_time, source.legacy_update_time) == ("t1", "t2")


def test_an_update_of_an_unknown_id_is_refused(book):
    book.put("a", "web")
    assert book.put("a", "web", mode="update", legacy_id="u1") == Rejected(3, "Intention not found")
    assert isinstance(book.put("a", "web", mode="update"), Rejected)


def test_an_update_cannot_move_to_another_destination_or_onto_another_source(book):
    book.put("a", "web", mode="create", legacy_id="u1")
    book.put("b", "web")
    moved = book.put("a", "db", mode="update", legacy_id="u1")
    assert "once it exists" in moved.reason
    onto = book.put("b", "web", mode="update", legacy_id="u1")
    assert onto == Rejected(5, 'Sources[2] defines "b" more than once')


def test_an_upsert_keeps_the_id_that_the_pair_had(book):
    book.put("a", "web", mode="create", legacy_id="u1", legacy_meta={"k": "v"})
    book.put("a", "web", "deny")
    source = book.get(legacy_id="u1").source
    assert (source.action, source.legacy_meta) == ("deny", {"k": "v"})


def test_an_id_cannot_be_used_twice(book):
    book.put("a", "web", mode="create", legacy_id="u1")
    assert isinstance(book.put("b", "web", mode="create", legacy_id="u1"), Rejected)
    assert isinstance(book.put("a", "db", legacy_id="u1"), Rejected)


def test_deleting_tells_whether_there_was_one(book):
    book.put("a", "web", mode="create", legacy_id="u1")
    book.put("b", "web")
    assert book.do(DeleteIntention(source="c", destination="web")) == Applied(4, False)
    assert book.do(DeleteIntention(source="a", destination="none")) == Applied(5, False)
    assert book.do(DeleteIntention(source="B", destination="WEB")) == Applied(6, True)
    assert book.do(DeleteIntention(legacy_id="u1")) == Applied(7, True)
    assert book.do(DeleteIntention(legacy_id="u1")) == Applied(8, False)
    assert book.state.answer(ListIntentions()).value == ()
    assert book.state.answer(ListIntentions()).index == 7
