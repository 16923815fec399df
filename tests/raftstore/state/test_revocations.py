"""The deny list as replicated state: times are the leader's, entries end by themselves."""

from __future__ import annotations

import pytest

from raftstore.commands import Applied, NextSerial, Outcome, Rejected
from raftstore.definitions import RevokedLeaf
from raftstore.revocations import DropRevocations, ListRevocations, RevokeLeaf
from raftstore.state import StateMachine
from raftstore.state import revocations as module


class Book:
    def __init__(self) -> None:
        self.state = StateMachine()
        self.now = 1000.0

    def write(self, command: object) -> Outcome:
        outcome = self.state.apply(self.state.index + 1, self.now, command)  # type: ignore[arg-type]
        self.state.check()
        return outcome

    def revoke(self, name: str, life_s: float = 100.0, **fields: float) -> Outcome:
        return self.write(RevokeLeaf(RevokedLeaf(id=name, serial=name, **fields), life_s))

    def listed(self) -> dict[str, RevokedLeaf]:
        return {each.id: each for each in self.state.answer(ListRevocations()).value}


def test_an_entry_has_the_times_of_the_state() -> None:
    book = Book()
    assert book.revoke("0a") == Applied(1, "0a")
    entry = book.listed()["0a"]
    assert (entry.before, entry.revoked_at, entry.expires_at) == (1000.0, 1000.0, 1100.0)
    book.now = 1050.0
    book.revoke("0b", expires_at=1060.0, before=900.0)
    entry = book.listed()["0b"]
    assert (entry.before, entry.expires_at) == (900.0, 1060.0)


def test_revoking_again_never_shortens() -> None:
    book = Book()
    book.revoke("0a", expires_at=5000.0)
    book.revoke("0a", expires_at=2000.0, before=10.0)
    entry = book.listed()["0a"]
    assert (entry.before, entry.expires_at) == (1000.0, 5000.0)


def test_ended_entries_make_room_and_a_full_list_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REVOCATIONS_MAX", 100)
    book = Book()
    for number in range(module.REVOCATIONS_MAX):
        assert isinstance(book.revoke(f"{number:x}", life_s=1000.0), Applied)
    full = book.revoke("ffffff")
    assert isinstance(full, Rejected)
    assert "rotate the root" in full.reason
    assert isinstance(book.revoke("1"), Applied), "what is there can be revoked again"
    book.now = 2500.0
    assert isinstance(book.revoke("ffffff"), Applied)
    assert len(book.listed()) < module.REVOCATIONS_MAX


def test_entries_are_dropped_and_what_means_nothing_is_refused() -> None:
    book = Book()
    book.revoke("0a")
    assert book.write(DropRevocations(("0a", "0b"))) == Applied(2, 1)
    assert book.listed() == {}
    assert isinstance(book.write(RevokeLeaf(RevokedLeaf(id="x"), 1.0)), Rejected)


def test_of_an_id_the_entry_knows_which_serials_had_been_given_out() -> None:
    book = Book()
    uri = "spiffe://td/ns/default/dc/dc1/svc/web"
    for _ in range(3):
        book.write(NextSerial())
    book.write(RevokeLeaf(RevokedLeaf(id=uri, uri=uri), 100.0))
    assert book.listed()[uri].counter == 3
    book.write(NextSerial())
    book.write(RevokeLeaf(RevokedLeaf(id=uri, uri=uri, before=900.0), 100.0))
    assert book.listed()[uri].counter == 3, "an earlier moment says nothing of serials"
    book.write(RevokeLeaf(RevokedLeaf(id=uri, uri=uri), 100.0))
    assert book.listed()[uri].counter == 4
