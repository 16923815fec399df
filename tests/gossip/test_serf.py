"""The whole protocol of one member: clocks, intents, events, queries, leaving."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.config import GossipConfig
from gossip.effects import (
    Address,
    LeaveFinished,
    MemberChanged,
    NameLost,
    SendPacket,
    UserEventArrived,
)
from gossip.errors import ConfigError, DecodeError, RemoteError
from gossip.keyring import Keyring
from gossip.members import VERSIONS
from gossip.rejoin import Clocks
from gossip.roster import MemberStatus
from gossip.serf import Serf
from gossip.stats import GossipStats
from gossip.wire import messages
from gossip.wire import serf as wire
from gossip.wire.frames import Framing
from gossip.wire.messages import Alive, Dead, NodeState, PushPull, State, User

PORT = 7946
SOURCE = Address(bytes((10, 0, 0, 9)), PORT)


class Bench:
    """A member whose peers are played by the test."""

    def __init__(self, name: str = "me", index: int = 1, **changes: Any) -> None:
        self.now = 0.0
        config = GossipConfig.lan(name, push_pull_interval_s=0.0, **changes)
        self.stats = GossipStats()
        framing = Framing(config, Keyring(config.keys))
        self.core = Serf(config, rng=random.Random(3), framing=framing, stats=self.stats)
        self.core.start(Address(bytes((10, 0, 0, index)), PORT), self.now)
        self.core.drain()

    def serf(self, *told: wire.SerfMessage) -> list[Any]:
        parts = [messages.encode(User(wire.encode(message))) for message in told]
        return self.packet(*parts)

    def packet(self, *parts: bytes) -> list[Any]:
        self.core.receive_packet(list(parts), SOURCE, self.now)
        self.core.check()
        return self.core.drain()

    def add(self, name: str, index: int) -> None:
        claim = Alive(
            incarnation=1,
            node=name,
            address=bytes((10, 0, 0, index)),
            port=PORT,
            meta=b"\xff\x80",
            versions=VERSIONS,
        )
        self.packet(messages.encode(claim))

    def queued(self) -> list[wire.SerfMessage]:
        """The Serf messages that wait to be gossiped."""
        queues = self.core.swim.piggyback.user_queues
        return [wire.decode(m) for q in queues for m in q.take(9000, transmits_max=99)]

    def status(self, name: str) -> MemberStatus:
        return self.core.roster.entries[name].status


def kinds(effects: list[Any]) -> list[str]:
    return [
        f"{e.event.kind.value} {e.event.member.name}"
        for e in effects
        if isinstance(e, MemberChanged)
    ]


def test_a_leave_intent_and_the_end_make_a_member_left() -> None:
    bench = Bench()
    bench.add("n", 2)
    intent = wire.LeaveIntent(5, "n")
    assert kinds(bench.serf(intent)) == []
    assert bench.queued() == [intent], "passed on"
    assert kinds(bench.packet(messages.encode(Dead(1, "n", "n")))) == ["leave n"]
    assert kinds(bench.serf(intent)) == []


def test_an_end_without_intent_is_a_failure_and_the_intent_mends_it() -> None:
    bench = Bench()
    bench.add("n", 2)
    assert kinds(bench.packet(messages.encode(Dead(1, "n", "n")))) == ["failed n"]
    assert kinds(bench.serf(wire.LeaveIntent(5, "n"))) == ["leave n"]


def test_a_leave_intent_about_ourselves_is_contradicted_and_not_passed_on() -> None:
    bench = Bench()
    bench.serf(wire.LeaveIntent(7, "me"))
    (answer,) = bench.queued()
    assert answer == wire.JoinIntent(8, "me")
    assert bench.status("me") is MemberStatus.ALIVE


def test_a_user_event_is_told_once_and_passed_on_unchanged() -> None:
    bench = Bench()
    event = wire.UserEvent(9, "deploy", b"v1", True)
    told = [e for e in bench.serf(event, event) if isinstance(e, UserEventArrived)]
    assert told == [UserEventArrived(9, "deploy", b"v1")]
    assert bench.queued() == [event]
    bench.core.user_event("next", b"", coalesce=False, now=0.0)
    (own,) = [m for m in bench.queued() if isinstance(m, wire.UserEvent) and m.name == "next"]
    assert own.ltime == 10


def test_a_user_event_above_the_limit_is_refused() -> None:
    bench = Bench()
    bench.core.user_event("x", b"a" * 481, coalesce=False, now=0.0)
    with pytest.raises(ConfigError, match="512"):
        bench.core.user_event("x", b"a" * 482, coalesce=False, now=0.0)


def test_a_user_event_of_others_has_a_limit_as_well() -> None:
    bench = Bench()
    bench.serf(wire.UserEvent(2, "x", b"a" * 9215), wire.UserEvent(3, "y", b"a" * 9216))
    assert bench.stats.user_events == 1
    assert bench.stats.dropped == {"user_event_too_long": 1}


def test_a_user_event_that_comes_too_late_to_be_told_from_a_replay_is_counted() -> None:
    bench = Bench()
    bench.serf(wire.UserEvent(600, "new", b""), wire.UserEvent(88, "late", b""))
    assert bench.stats.user_events == 1
    assert bench.stats.dropped == {"user_event_too_old": 1}


def test_a_user_event_is_one_whether_its_empty_payload_is_nil_or_not() -> None:
    bench = Bench()
    told = bench.serf(wire.UserEvent(2, "x", None), wire.UserEvent(2, "x", b""))
    assert [e for e in told if isinstance(e, UserEventArrived)] == [UserEventArrived(2, "x", b"")]


def query(name: str, **changes: Any) -> wire.Query:
    plain = wire.Query(
        ltime=4,
        id=99,
        address=SOURCE.ip,
        port=PORT,
        source_node="asker",
        filters=None,
        flags=0,
        relay_factor=0,
        timeout_ns=10**9,
        name=name,
        payload=None,
    )
    return dataclasses.replace(plain, **changes)


def responses(effects: list[Any]) -> list[wire.QueryResponse]:
    sent = [e for e in effects if isinstance(e, SendPacket) and e.to == SOURCE]
    found = [messages.decode(part) for e in sent for part in e.messages]
    decoded = [wire.decode(m.payload) for m in found if isinstance(m, User)]
    return [m for m in decoded if isinstance(m, wire.QueryResponse)]


def test_a_query_is_acknowledged_once_and_passed_on() -> None:
    bench = Bench()
    asked = query("uptime", flags=wire.QUERY_FLAG_ACK)
    (ack,) = responses(bench.serf(asked, asked))
    assert (ack.flags, ack.payload, ack.ltime, ack.id, ack.sender) == (1, None, 4, 99, "me")
    assert bench.queued() == [asked]


def test_a_query_for_others_is_passed_on_and_not_answered() -> None:
    bench = Bench()
    asked = query("x", flags=1, filters=(bytes.fromhex("0092a26631a26632"),))
    assert responses(bench.serf(asked)) == []
    assert bench.queued() == [asked]
    quiet = query("y", id=5, flags=wire.QUERY_FLAG_NO_BROADCAST)
    bench.serf(quiet)
    assert quiet not in bench.queued()


def test_the_conflict_query_is_answered_by_all_but_the_bearer() -> None:
    bench = Bench()
    bench.add("n", 2)
    (known,) = responses(bench.serf(query("_serf_conflict", payload=b"n")))
    answer = wire.decode(known.payload or b"")
    assert isinstance(answer, wire.ConflictResponse)
    assert answer.member is not None
    assert (answer.member.address, answer.member.port) == (bytes((10, 0, 0, 2)), PORT)
    (stranger,) = responses(bench.serf(query("_serf_conflict", id=2, payload=b"nobody")))
    assert stranger.payload == b"\x06\xc0"
    assert responses(bench.serf(query("_serf_conflict", id=3, payload=b"me"))) == []


def test_a_relayed_message_is_sent_on() -> None:
    bench = Bench()
    relay = wire.Relay(address=bytes((10, 0, 0, 7)), port=5, name="x", inner=b"\x01inner")
    (sent,) = [e for e in bench.serf(relay) if isinstance(e, SendPacket)]
    assert sent.to == Address(bytes((10, 0, 0, 7)), 5)
    assert sent.messages == (b"\x08\x01inner",)


def stolen() -> bytes:
    """Somebody else bears our name."""
    claim = Alive(
        incarnation=1, node="me", address=bytes((9, 9, 9, 9)), port=1, meta=None, versions=VERSIONS
    )
    return messages.encode(claim)


@pytest.mark.parametrize(
    ("ours", "theirs", "lost"), [(0, 0, False), (1, 2, True), (2, 1, False), (1, 1, True)]
)
def test_the_majority_decides_who_bears_our_name(ours: int, theirs: int, lost: bool) -> None:
    bench = Bench()
    bench.packet(stolen())
    (asked,) = [m for m in bench.queued() if isinstance(m, wire.Query)]
    assert (asked.name, asked.payload) == ("_serf_conflict", b"me")
    entry = bench.core.roster.entries["me"]
    for index in range(ours + theirs):
        member = wire.ConflictMember(
            name="me",
            address=entry.ip if index < ours else bytes(4),
            port=entry.port,
            tags={},
            status=1,
            protocol_min=1,
            protocol_max=5,
            protocol_current=2,
            delegate_min=2,
            delegate_max=5,
            delegate_current=5,
        )
        bench.serf(
            wire.QueryResponse(
                ltime=asked.ltime,
                id=asked.id,
                sender=f"n{index}",
                flags=0,
                payload=wire.encode(wire.ConflictResponse(member)),
            )
        )
    bench.core.tick(10.0)
    assert any(isinstance(e, NameLost) for e in bench.core.drain()) is lost


def test_a_graceful_leave_says_the_intent_first_and_the_end_afterwards() -> None:
    bench = Bench()
    bench.add("n", 2)
    bench.core.leave(1.0)
    assert bench.queued() == [wire.LeaveIntent(1, "me")]
    assert bench.core.swim.table.local.state is State.ALIVE
    bench.core.tick(6.0)  # nobody helps to use it up: the wait runs out
    assert bench.core.swim.table.local.state is State.LEFT
    assert bench.status("me") is MemberStatus.LEFT
    bench.core.tick(11.1)
    assert LeaveFinished() not in bench.core.drain()
    bench.core.tick(12.2)
    assert LeaveFinished() in bench.core.drain()


def test_force_leave_prunes_a_live_member_only_after_it_ended() -> None:
    bench = Bench()
    bench.add("n", 2)
    assert bench.core.force_leave("n", prune=True, now=0.0)
    assert bench.status("n") is MemberStatus.LEAVING
    bench.core.tick(6.1)
    assert "n" not in bench.core.roster.entries
    assert not bench.core.force_leave("n", prune=False, now=7.0)
    assert not bench.core.force_leave("me", prune=False, now=7.0)


def test_states_exchanged_bring_members_left_ones_and_events() -> None:
    one, two = Bench("one", 1), Bench("two", 2)
    one.add("gone", 5)
    one.serf(wire.LeaveIntent(3, "gone"), wire.UserEvent(4, "deploy", b"v1"))
    one.packet(messages.encode(Dead(1, "gone", "gone")))
    state = one.core.local_state(join=True)
    two.core.merge_state(state, 0.0)
    effects = two.core.drain()
    assert kinds(effects) == ["join one"]
    assert UserEventArrived(4, "deploy", b"v1") in effects
    one.core.merge_state(two.core.local_state(join=True), 0.0)
    assert kinds(one.core.drain()) == ["join two"]
    for bench in (one, two):
        bench.core.check()


@pytest.mark.parametrize(
    ("before", "heard"), [(Clocks(), ["new"]), (Clocks(event=4), ["missed", "new"])],
    ids=["a newcomer", "one that was there before"],
)  # fmt: skip
def test_who_enters_a_ring_hears_what_is_told_from_then_on(
    before: Clocks, heard: list[str]
) -> None:
    there, here = Bench("one", 1), Bench("two", 2)
    there.serf(wire.UserEvent(4, "old", b""), wire.UserEvent(7, "missed", b""))
    here.core.resume(before)
    for portion in here.core.portions(there.core.local_state(join=True), entering=True):
        here.core.take(portion, 0.0)
    there.serf(wire.UserEvent(8, "new", b""))
    here.core.merge_state(there.core.local_state(join=False), 0.0)
    told = [each.name for each in here.core.drain() if isinstance(each, UserEventArrived)]
    assert told == heard


def test_a_large_table_is_taken_in_bit_by_bit_with_others_in_between() -> None:
    one, whole, some = Bench("one", 1), Bench("two", 2), Bench("two", 2)
    for number in range(100):
        one.add(f"n{number:03}", 10 + number)
    one.serf(wire.LeaveIntent(3, "n005"), wire.UserEvent(4, "deploy", b"v1"))
    state = one.core.local_state(join=True)
    whole.core.merge_state(state, 0.0)
    portions = some.core.portions(state)
    assert [len(nodes) for nodes, _ in portions] == [32, 32, 32, 5, 0]
    assert len(some.core.roster) == 1, "judged, but not taken in"
    for portion in portions:
        some.core.take(portion, 0.0)
        some.packet(messages.encode(Dead(1, "n099", "n050")))  # others speak meanwhile
        some.core.check()
    some.core.take(portions[0], 0.0)  # an exchange with somebody else, in the middle
    assert some.core.roster.entries.keys() == whole.core.roster.entries.keys()
    statuses = {name: entry.status for name, entry in whole.core.roster.entries.items()}
    statuses["n099"] = MemberStatus.FAILED
    assert {n: e.status for n, e in some.core.roster.entries.items()} == statuses


def test_a_ring_of_other_versions_is_refused_whole() -> None:
    bench = Bench()
    odd = NodeState(
        incarnation=1,
        name="odd",
        address=bytes(4),
        port=1,
        meta=None,
        versions=bytes((1, 5, 2, 6, 7, 6)),
        state=State.ALIVE,
    )
    with pytest.raises(RemoteError, match="delegate protocol version"):
        bench.core.merge_state(PushPull(True, (odd,), b""), 0.0)
    with pytest.raises(DecodeError):
        bench.core.merge_state(PushPull(True, (), b"\x02\xff"), 0.0)
    assert len(bench.core.roster) == 1


def test_a_lamport_time_out_of_reach_is_dropped() -> None:
    bench = Bench()
    bench.add("n", 2)
    top = 2**64 - 1
    bench.serf(wire.LeaveIntent(top, "n"), wire.JoinIntent(top, "n"), wire.UserEvent(top, "e", b""))
    assert bench.stats.dropped == {"invalid_ltime": 2}
    assert bench.status("n") is MemberStatus.ALIVE
    bench.core.user_event("x", b"", coalesce=False, now=0.0)
    bench.core.local_state(join=False)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=6), st.integers(0, 13), st.integers(0, 9))
def test_no_packet_breaks_a_member(parts: list[bytes], kind: int, inner: int) -> None:
    bench = Bench()
    bench.packet(*(bytes((kind,)) + part for part in parts if part))
    bench.packet(*(bytes((8, inner)) + part for part in parts))
    bench.core.tick(1.0)
    bench.core.check()
