"""Operations on the ring's keys: whatever is lost on the way, no member is cut off from another."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.errors import KeyringError
from gossip.key_changes import INSTALL_QUERY, LIST_QUERY, USE_QUERY, key_list
from gossip.keyring import Keyring
from gossip.rotation import (
    IS_PRIMARY,
    LACKS_KEY,
    SILENT_AFTER,
    SILENT_BEFORE,
    Ask,
    KeyOperation,
    KeyReport,
    Rotation,
)
from gossip.wire import serf
from gossip.wire.serf import KeyRequest, KeyResponse
from tests.strategies import scaled

KEYS = tuple(bytes((number,)) * 16 for number in range(4))


class Ring:
    """Members with real keyrings behind a network that loses queries and answers."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng = random.Random(seed)
        self.members = {f"n{index}": Keyring(KEYS[:1]) for index in range(size)}
        self.failed: set[str] = set()
        self.questions = 0

    @property
    def live(self) -> list[str]:
        return [name for name in self.members if name not in self.failed]

    def run(self, operation: KeyOperation, key: bytes, loss: float) -> KeyReport:
        rotation = Rotation(operation, key)
        ask: Ask | None = rotation.start(self.live, self.failed)
        while ask is not None:
            self.questions += 1
            for name in self.rng.sample(self.live, len(self.live)):
                if (ask.nodes and name not in ask.nodes) or self.rng.random() < loss:
                    continue
                answer = carry_out(self.members[name], ask)
                if self.rng.random() >= loss:
                    rotation.answer(name, answer)
                    rotation.answer(name, answer)  # over a relay
            if self.rng.random() < loss / 4 and len(self.live) > 1:
                self.failed.add(self.rng.choice(self.live))
            ask = rotation.round_over(self.live)
        assert rotation.finished
        return rotation.report()

    def shared(self) -> list[bytes]:
        """The keys that all hold."""
        return sorted(set.intersection(*(set(ring.keys) for ring in self.members.values())))

    def check(self) -> None:
        """Everybody can read everybody."""
        for sender in self.live:
            for reader in self.live:
                assert self.members[sender].keys[0] in self.members[reader].keys


def carry_out(ring: Keyring, ask: Ask) -> bytes:
    if ask.name == LIST_QUERY:
        return serf.encode(key_list(ring, 1024))
    request = serf.decode(ask.payload)
    assert isinstance(request, KeyRequest)
    try:
        if ask.name == INSTALL_QUERY:
            ring.install(request.key)
        elif ask.name == USE_QUERY:
            ring.use(request.key)
        else:
            ring.remove(request.key)
    except KeyringError as error:
        return serf.encode(KeyResponse(False, str(error)))
    return serf.encode(KeyResponse(True))


@settings(max_examples=scaled(150), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(1, 12),
    alike=st.booleans(),
    steps=st.lists(
        st.tuples(
            st.sampled_from(list(KeyOperation)),
            st.sampled_from(KEYS[:3]),
            st.sampled_from([0.0, 0.0, 0.1, 0.4, 0.7]),
        ),
        max_size=12,
    ),
)
def test_no_member_is_cut_off_whatever_is_lost(
    seed: int, size: int, alike: bool, steps: list[tuple[KeyOperation, bytes, float]]
) -> None:
    ring = Ring(seed, size)
    for member in () if alike else ring.members.values():
        for key in ring.rng.sample(KEYS[1:3], ring.rng.choice((1, 2, 2, 2))):
            member.install(key)
    for member in ring.members.values():  # as after a use that did not reach all
        member.use(ring.rng.choice(ring.shared()))
    for operation, key, loss in steps:
        before = {name: member.keys for name, member in ring.members.items()}
        report = ring.run(operation, key, loss)
        ring.check()
        parts = [set(report.done), set(report.failed), set(report.silent)]
        assert sum(map(len, parts)) == len(set().union(*parts))
        asked = report.changed or operation is KeyOperation.LIST
        assert not asked or set().union(*parts) == set(report.members)
        assert set().union(*parts) <= set(report.members)
        assert set(report.members).isdisjoint(report.away)
        if not report.changed:
            assert before == {name: member.keys for name, member in ring.members.items()}
            assert operation is KeyOperation.LIST or not report.ok
        if report.ok and operation is KeyOperation.USE:
            assert all(ring.members[name].keys[0] == key for name in report.done)
        if report.ok and operation is KeyOperation.REMOVE:
            assert all(key not in ring.members[name].keys for name in report.done)
    assert ring.questions <= 6 * len(steps)


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_without_loss_a_rotation_takes_six_questions(seed: int, size: int) -> None:
    ring = Ring(seed, size)
    for operation, key in (
        (KeyOperation.INSTALL, KEYS[1]),
        (KeyOperation.USE, KEYS[1]),
        (KeyOperation.REMOVE, KEYS[0]),
        (KeyOperation.LIST, b""),
    ):
        assert ring.run(operation, key, 0.0).ok
    assert ring.questions == 1 + 2 + 2 + 1
    assert {member.keys for member in ring.members.values()} == {(KEYS[1],)}


def test_a_key_is_not_used_while_a_member_lacks_it() -> None:
    ring = Ring(1, 3)
    for name in ("n0", "n2"):
        ring.members[name].install(KEYS[1])
    report = ring.run(KeyOperation.USE, KEYS[1], 0.0)
    assert report.failed == {"n1": LACKS_KEY}
    assert not report.changed
    assert not report.done


def test_a_key_that_is_primary_somewhere_is_not_removed() -> None:
    ring = Ring(1, 3)
    for member in ring.members.values():
        member.install(KEYS[1])
    ring.members["n1"].use(KEYS[1])
    report = ring.run(KeyOperation.REMOVE, KEYS[1], 0.0)
    assert report.failed == {"n1": IS_PRIMARY}
    assert not report.changed


def listed(*keys: str) -> bytes:
    return serf.encode(KeyResponse(True, "", keys, keys[0]))


def test_a_silent_member_is_asked_three_times_and_then_holds_everything_up() -> None:
    rotation = Rotation(KeyOperation.USE, KEYS[0])
    key = "AAAAAAAAAAAAAAAAAAAAAA=="
    first = rotation.start(["a", "b"])
    assert first.nodes == ()
    rotation.answer("a", listed(key))
    second = rotation.round_over(["a", "b"])
    assert second is not None
    assert second.nodes == ("b",)
    assert rotation.round_over(["a", "b"]) is not None
    assert rotation.round_over(["a", "b"]) is None
    assert rotation.report().silent == {"b": SILENT_BEFORE}


def test_one_that_fails_meanwhile_is_not_waited_for_but_named() -> None:
    rotation = Rotation(KeyOperation.INSTALL, KEYS[0])
    rotation.start(["a", "b"], ["c"])
    rotation.answer("a", serf.encode(KeyResponse(True)))
    assert rotation.missing == ("b",)
    assert rotation.report().silent == {"b": SILENT_AFTER}
    assert rotation.round_over(["a"]) is None
    report = rotation.report()
    assert report.ok
    assert report.away == ("b", "c")


def test_one_that_comes_meanwhile_is_asked_too() -> None:
    rotation = Rotation(KeyOperation.INSTALL, KEYS[0])
    rotation.start(["a"])
    rotation.answer("a", serf.encode(KeyResponse(True)))
    ask = rotation.round_over(["a", "b"])
    assert ask is not None
    assert ask.nodes == ("b",)


@pytest.mark.parametrize("count", [9, 3])
def test_many_silent_members_are_asked_without_a_filter(count: int) -> None:
    names = [f"n{index}".ljust(200 if count == 3 else 3, "x") for index in range(count)]
    rotation = Rotation(KeyOperation.INSTALL, KEYS[0])
    rotation.start(names)
    ask = rotation.round_over(names)
    assert ask is not None
    assert ask.nodes == ()


@given(st.binary(max_size=60))
def test_what_is_no_answer_is_not_taken_for_one(data: bytes) -> None:
    rotation = Rotation(KeyOperation.INSTALL, KEYS[0])
    rotation.start(["a"])
    rotation.answer("a", b"\x07" + data)
    assert rotation.missing == ("a",)


def test_a_member_that_shows_only_some_keys_may_not_be_held_to_have_the_key() -> None:
    rotation = Rotation(KeyOperation.USE, KEYS[0])
    rotation.start(["a"])
    text = "truncated key list response, showing first 1 of 40 keys"
    rotation.answer("a", serf.encode(KeyResponse(True, text, ("x",), "x")))
    assert rotation.round_over(["a"]) is None
    assert text in rotation.report().failed["a"]
