"""Key queries of others: durable before they count, one at a time, bounded, truthful on failure."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gossip.config import GossipConfig
from gossip.effects import SaveKeys
from gossip.key_changes import (
    INSTALL_QUERY,
    KEY_QUERIES,
    NO_KEYRING,
    NO_KEYRING_TO_MODIFY,
    REMOVE_QUERY,
    USE_QUERY,
    KeyChanges,
)
from gossip.keyring import Keyring
from gossip.stats import GossipStats
from gossip.wire import serf
from tests.gossip.test_asking import query

A, B, C = bytes(16), bytes(range(24)), bytes(range(32))


class Bench:
    """The key changes of one member, with its answers and what it wants written."""

    def __init__(self, *keys: bytes, path: str = "f", **changes: Any) -> None:
        config = GossipConfig.lan("me", keyring_path=path, **changes)
        self.ring, self.stats = Keyring(keys), GossipStats()
        self.answers: list[serf.KeyResponse] = []
        self.saves: list[SaveKeys] = []
        self.core = KeyChanges(
            config, self.ring, self.stats, answer=self._answered, save=self.saves.append
        )

    def _answered(self, asked: serf.Query, payload: bytes, now: float) -> None:
        response = serf.decode(payload)
        assert isinstance(response, serf.KeyResponse)
        self.answers.append(response)

    def ask(self, name: str, key: bytes = b"", payload: bytes | None = None) -> None:
        data = serf.encode(serf.KeyRequest(key)) if payload is None else payload
        self.core.receive(dataclasses.replace(query(), name=name, payload=data), 0.0)


def test_a_change_counts_once_it_is_durable() -> None:
    bench = Bench(A)
    bench.ask(INSTALL_QUERY, B)
    assert bench.saves == [SaveKeys((A, B))]
    assert bench.ring.keys == (A,)
    assert bench.answers == []
    bench.core.saved("", 0.0)
    assert bench.ring.keys == (A, B)
    assert [answer.result for answer in bench.answers] == [True]


def test_what_could_not_be_written_changes_nothing_and_says_so() -> None:
    bench = Bench(A)
    bench.ask(INSTALL_QUERY, B)
    bench.core.saved("No space left on device", 0.0)
    assert bench.ring.keys == (A,)
    assert not bench.answers[0].result
    assert "No space left" in bench.answers[0].message
    assert bench.stats.key_changes == 0


def test_changes_are_made_one_after_the_other() -> None:
    bench = Bench(A)
    bench.ask(INSTALL_QUERY, B)
    bench.ask(USE_QUERY, B)
    bench.ask(REMOVE_QUERY, A)
    bench.ask(INSTALL_QUERY, B)
    for _ in range(3):
        bench.core.saved("", 0.0)
    assert [save.keys for save in bench.saves] == [(A, B), (B, A), (B,)]
    assert bench.ring.keys == (B,)
    assert [answer.result for answer in bench.answers] == [True] * 4
    assert bench.stats.key_changes == 3


def test_a_repeated_change_is_answered_without_the_disk() -> None:
    bench = Bench(A, B)
    for name, key in ((INSTALL_QUERY, B), (USE_QUERY, A), (REMOVE_QUERY, C)):
        bench.ask(name, key)
    assert bench.saves == []
    assert [answer.result for answer in bench.answers] == [True] * 3


def test_refusals_say_why() -> None:
    bench = Bench(A, keyring_keys_max=2)
    bench.ask(USE_QUERY, B)
    bench.ask(REMOVE_QUERY, A)
    bench.ask(INSTALL_QUERY, b"short")
    bench.ask(INSTALL_QUERY, payload=b"\xff")
    bench.ask(INSTALL_QUERY, payload=serf.encode(serf.JoinIntent(1, "x")))
    bench.ask(INSTALL_QUERY, B)
    bench.core.saved("", 0.0)
    bench.ask(INSTALL_QUERY, C)
    texts = [answer.message for answer in bench.answers if not answer.result]
    assert texts[0] == "Requested key is not in the keyring"
    assert texts[1] == "Removing the primary key is not allowed"
    assert texts[2] == "key size must be 16, 24 or 32 bytes"
    assert "limit 2" in texts[5]
    assert len(texts) == 6


def test_without_keys_nothing_can_be_changed_or_listed() -> None:
    bench = Bench()
    for name in KEY_QUERIES:
        bench.ask(name, A)
    assert [answer.message for answer in bench.answers] == [NO_KEYRING_TO_MODIFY] * 3 + [NO_KEYRING]
    assert not bench.ring


def test_changes_that_wait_for_the_disk_are_bounded() -> None:
    bench = Bench(A, key_changes_max=2)
    for _ in range(4):
        bench.ask(INSTALL_QUERY, B)
    assert [answer.result for answer in bench.answers] == [False]
    bench.core.saved("", 0.0)
    assert [answer.result for answer in bench.answers] == [False, True, True, True]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KEY_QUERIES),
            st.sampled_from([A, B, C, b"bad"]),
            st.sampled_from(["", "disk"]),
        ),
        max_size=20,
    ),
    st.booleans(),
)
def test_every_query_is_answered_once_and_the_ring_is_never_empty(
    asked: list[tuple[str, bytes, str]], durable: bool
) -> None:
    bench = Bench(A, path="f" if durable else "")
    written: tuple[bytes, ...] = (A,)
    saved = 0
    for name, key, error in asked:
        bench.ask(name, key)
        while saved < len(bench.saves):
            if not error:
                written = bench.saves[saved].keys
            saved += 1
            bench.core.saved(error, 0.0)
    assert len(bench.answers) == len(asked)
    assert bench.ring.keys
    if durable:
        assert bench.ring.keys == written
