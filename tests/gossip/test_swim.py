"""The failure detector, step by step on given times."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.config import GossipConfig
from gossip.effects import (
    Address,
    ExchangeState,
    NodeDown,
    PingStream,
    RoundTrip,
    SendPacket,
)
from gossip.members import VERSIONS
from gossip.stats import GossipStats
from gossip.swim import Swim
from gossip.wire import messages
from gossip.wire.messages import Ack, Alive, Dead, IndirectPing, Nack, Ping, State, Suspect
from tests.strategies import scaled

PORT = 7946


def address(index: int) -> Address:
    return Address(bytes((10, 0, 0, index)), PORT)


def alive(name: str, index: int, incarnation: int = 1) -> Alive:
    return Alive(
        incarnation=incarnation,
        node=name,
        address=address(index).ip,
        port=PORT,
        meta=b"\xff\x80",
        versions=VERSIONS,
    )


class Bench:
    """A member among others that only the test plays."""

    def __init__(self, others: int, **changes: Any) -> None:
        self.now = 0.0
        config = GossipConfig.lan("me", push_pull_interval_s=0.0, **changes)
        self.swim = Swim(
            config, rng=random.Random(3), packet_budget_bytes=1398, stats=GossipStats()
        )
        self.swim.start(address(1), b"\xff\x80", self.now)
        for index in range(others):
            self.swim.receive(alive(f"n{index}", index + 2), address(2), self.now)
        self.take()

    def take(self) -> list[Any]:
        out, self.swim.out = self.swim.out, []
        self.swim.check()
        return out

    def sent(self, kind: type[Any]) -> list[tuple[Address, Any]]:
        """All messages of a kind in the packets that are waiting."""
        return [
            (effect.to, message)
            for effect in self.take()
            if isinstance(effect, SendPacket)
            for part in effect.messages
            if isinstance(message := messages.decode(part), kind)
        ]

    def until_ping(self) -> tuple[Address, Ping]:
        """Let time pass until the next probe."""
        while True:
            self.now = self.swim.deadline
            self.swim.tick(self.now)
            pings = self.sent(Ping)
            if pings:
                assert len(pings) == 1
                return pings[0]

    def after(self, seconds: float) -> None:
        """Let time pass; every timer fires at its time."""
        end = self.now + seconds
        while self.swim.deadline <= end:
            self.now = self.swim.deadline
            self.swim.tick(self.now)
        self.now = end

    def receive(self, message: messages.Message, source: int = 9) -> None:
        self.swim.receive(message, address(source), self.now)

    def state(self, name: str) -> State:
        return self.swim.table.records[name].state


def test_a_direct_ack_in_time_ends_the_probe_and_measures_the_round_trip() -> None:
    bench = Bench(1)
    to, ping = bench.until_ping()
    assert to == address(2)
    assert (ping.node, ping.source_node, ping.source_port) == ("n0", "me", PORT)
    bench.now += 0.01
    bench.receive(Ack(ping.seq_no, b"payload"))
    (trip,) = [e for e in bench.take() if isinstance(e, RoundTrip)]
    assert trip.rtt_s == pytest.approx(0.01)
    assert trip.payload == b"payload"
    bench.after(0.9)
    assert bench.state("n0") is State.ALIVE


def test_a_ping_that_could_not_leave_this_host_accuses_nobody() -> None:
    bench = Bench(2)
    to, _ = bench.until_ping()
    bench.swim.unsent(address(77))
    assert bench.swim.probing, "another packet is no reason"
    bench.swim.unsent(to)
    assert not bench.swim.probing
    next_to, ping = bench.until_ping()
    assert next_to != to, "the round goes on"
    bench.receive(Ack(ping.seq_no, None))
    bench.after(0.6)
    assert bench.swim.awareness.score == 0
    assert bench.swim.suspicions.deadline == math.inf
    assert bench.swim._stats.probes_unsent == 1


def test_plain_swim_does_not_doubt_itself_nor_ask_for_nacks_nor_wait_for_others() -> None:
    bench = Bench(5, lha_probe=False, lha_suspicion=False)
    _, ping = bench.until_ping()
    bench.after(0.501)
    requests = bench.sent(IndirectPing)
    assert len(requests) == 3
    assert not any(request.nack for _, request in requests)
    bench.after(0.6)
    assert bench.swim.awareness.score == 0
    suspicion = bench.swim.suspicions.get(ping.node)
    assert suspicion is not None
    assert suspicion.deadline - suspicion.started_at == pytest.approx(4.0)
    bench.receive(Suspect(1, ping.node, "n9"))
    assert suspicion.confirmations == 0


@pytest.mark.parametrize(("grace", "score", "wait_s"), [(1, 0, 1.0), (1, 3, 4.0), (0, 3, 0.0)])
def test_a_member_that_was_deaf_gives_a_suspect_time_to_refute(
    grace: int, score: int, wait_s: float
) -> None:
    bench = Bench(5, suspicion_grace_mult=grace)
    _, ping = bench.until_ping()
    bench.after(1.01)
    suspicion = bench.swim.suspicions.get(ping.node)
    assert suspicion is not None
    bench.swim.awareness.add(-9)
    bench.swim.awareness.add(score)
    bench.now += 15.0  # past what two confirmations leave, and nothing was heard meanwhile
    bench.receive(Suspect(1, ping.node, "n8"))
    bench.receive(Suspect(1, ping.node, "n9"))
    assert max(bench.now, suspicion.deadline) == pytest.approx(bench.now + wait_s)
    assert bench.swim.deadline <= suspicion.deadline
    bench.swim.receive(alive(ping.node, int(ping.node[1:]) + 2, 2), address(9), bench.now)
    bench.after(wait_s + 0.1)
    assert bench.state(ping.node) is not State.DEAD


@pytest.mark.parametrize("told", [True, False])
def test_whom_we_accuse_is_told_by_us_and_asked_again_before_its_turn(told: bool) -> None:
    bench = Bench(9, suspects_told=told)
    to, ping = bench.until_ping()
    accused = ping.node
    claim, rounds = Suspect(1, accused, "me"), 0
    direct: list[Address] = []
    pinged: list[str] = []
    while rounds < 2:
        bench.now = bench.swim.deadline
        bench.swim.tick(bench.now)
        for effect in bench.take():
            if isinstance(effect, SendPacket):
                found = [messages.decode(part) for part in effect.messages]
                if claim == found[0] and not effect.crc and not isinstance(found[-1], Ping):
                    direct.append(effect.to)
                pinged += [m.node for m in found if isinstance(m, Ping)]
                for m in found:
                    if isinstance(m, Ping) and m.node != accused:
                        bench.receive(Ack(m.seq_no, None))
                        rounds += 1
    assert (to in direct) is told
    assert (accused in pinged) is told
    assert pinged.count(accused) <= 1, "the round goes on"


def test_an_ack_carries_what_the_accused_says_to_it() -> None:
    bench = Bench(3)
    bench.take()
    before = bench.swim.table.local.incarnation
    bench.receive(Suspect(before, "me", "n1"), 3)
    bench.receive(
        Ping(
            seq_no=7,
            node="me",
            source_address=address(3).ip,
            source_port=PORT,
            source_node="n1",
        ),
        3,
    )
    ((to, said),) = [
        (e.to, [messages.decode(part) for part in e.messages])
        for e in bench.take()
        if isinstance(e, SendPacket)
    ]
    assert to == address(3)
    assert isinstance(said[0], Ack)
    assert any(isinstance(m, Alive) and m.incarnation > before for m in said)


@pytest.mark.parametrize("buddy_system", [True, False])
def test_without_the_buddy_system_a_suspect_gets_a_bare_ping(buddy_system: bool) -> None:
    bench = Bench(1, buddy_system=buddy_system)
    bench.receive(Suspect(1, "n0", "n9"))
    while bench.swim.queue:
        bench.swim.queue.take(9999, transmits_max=1)
    while bench.swim.deadline < 2.0:
        bench.now = bench.swim.deadline
        bench.swim.tick(bench.now)
    kinds = {
        tuple(type(messages.decode(part)) for part in effect.messages)
        for effect in bench.take()
        if isinstance(effect, SendPacket)
    }
    assert ((Suspect, Ping) in kinds) is buddy_system
    assert ((Ping,) in kinds) is not buddy_system


def test_without_an_ack_helpers_and_tcp_are_asked_at_the_probe_timeout() -> None:
    bench = Bench(5)
    to, ping = bench.until_ping()
    bench.after(0.499)
    assert not [e for e in bench.take() if isinstance(e, PingStream)]
    bench.after(0.002)
    effects = bench.swim.out
    (stream,) = [e for e in effects if isinstance(e, PingStream)]
    assert stream.to == to
    asked = bench.sent(IndirectPing)
    assert len(asked) == 3
    assert len({helper for helper, _ in asked}) == 3
    for helper, request in asked:
        assert helper != to
        assert (request.seq_no, request.node, request.nack) == (ping.seq_no, ping.node, True)
        assert (request.target, request.port) == tuple(to)


def test_a_forwarded_ack_saves_the_target_and_brings_no_round_trip() -> None:
    bench = Bench(5)
    _, ping = bench.until_ping()
    bench.after(0.6)
    bench.take()
    bench.receive(Ack(ping.seq_no))
    assert not [e for e in bench.take() if isinstance(e, RoundTrip)]
    bench.after(0.39)
    assert bench.state(ping.node) is State.ALIVE


def test_a_tcp_answer_saves_the_target() -> None:
    bench = Bench(1)
    _, ping = bench.until_ping()
    bench.after(0.6)
    bench.swim.tcp_ping_finished(ping.seq_no, True)
    bench.after(0.41)
    assert bench.state("n0") is State.ALIVE


def test_no_answer_at_all_makes_a_suspect_and_costs_trust_in_ourselves() -> None:
    bench = Bench(5)
    _, ping = bench.until_ping()
    bench.after(1.01)
    assert bench.state(ping.node) is State.SUSPECT
    assert bench.swim.awareness.score == 3, "three helpers, no nack"
    cause = bench.swim.table.records[ping.node].transitions[-1].cause
    assert cause == "no ack: direct, 3 helpers (0 nacks), TCP"


def test_nacks_from_all_helpers_keep_our_health() -> None:
    bench = Bench(5)
    _, ping = bench.until_ping()
    bench.after(0.6)
    for source, _ in bench.sent(IndirectPing):
        bench.swim.receive(Nack(ping.seq_no), source, bench.now)
    bench.after(0.41)
    assert bench.state(ping.node) is State.SUSPECT
    assert bench.swim.awareness.score == 0


def test_a_bad_health_stretches_the_probe_and_not_its_timeout() -> None:
    bench = Bench(5)
    bench.swim.awareness.add(2)
    _, ping = bench.until_ping()
    bench.after(0.501)
    assert len(bench.sent(IndirectPing)) == 3
    bench.after(2.4)
    assert bench.state(ping.node) is State.ALIVE
    bench.after(0.11)
    assert bench.state(ping.node) is State.SUSPECT


def test_a_suspect_is_told_of_the_suspicion_with_its_ping() -> None:
    bench = Bench(1, suspicion_mult=30)
    bench.receive(Suspect(1, "n0", "other"))
    bench.take()
    while True:
        bench.now = bench.swim.deadline
        bench.swim.tick(bench.now)
        packets = [e for e in bench.take() if isinstance(e, SendPacket)]
        decoded = [[messages.decode(p) for p in packet.messages] for packet in packets]
        pair = [d for d in decoded if isinstance(d[-1], Ping)]
        if pair:
            break
    assert pair[0][:-1] == [Suspect(1, "n0", "me")], "before the ping, for the ack to answer it"
    assert packets[0].crc


def test_a_suspicion_that_runs_out_is_declared_dead_and_spread() -> None:
    bench = Bench(2)
    bench.receive(Suspect(1, "n0", "n1"))
    bench.take()
    bench.swim.queue.take(5000, transmits_max=1)
    while bench.state("n0") is State.SUSPECT:
        bench.now = bench.swim.deadline
        bench.swim.tick(bench.now)
    assert bench.now == pytest.approx(4.0)
    assert NodeDown("n0") in bench.take()


def test_an_accused_member_refutes_above_the_accused_incarnation() -> None:
    bench = Bench(1)
    bench.receive(Dead(9, "me", "n0"))
    assert bench.swim.table.local.incarnation == 10
    assert bench.swim.awareness.score == 1
    spread = [messages.decode(m) for m in bench.swim.queue.take(1398, transmits_max=9)]
    (own,) = [m for m in spread if isinstance(m, Alive) and m.node == "me"]
    assert own.incarnation == 10


def test_a_ping_is_answered_to_the_address_inside_it() -> None:
    bench = Bench(0)
    bench.swim.ack_payload = b"coordinate"
    bench.receive(Ping(seq_no=7, node="me", source_address=address(5).ip, source_port=99))
    assert bench.sent(Ack) == [(Address(address(5).ip, 99), Ack(7, b"coordinate"))]
    bench.receive(Ping(seq_no=8, node=""), source=6)
    assert bench.sent(Ack) == [(address(6), Ack(8, b"coordinate"))]
    bench.receive(Ping(seq_no=9, node="somebody else"), source=6)
    assert bench.sent(Ack) == []


def asked_to_help(bench: Bench) -> int:
    """Have n5 ask us to ping n6; our own sequence number."""
    target = address(6)
    bench.receive(
        IndirectPing(seq_no=77, node="n6", target=target.ip, port=PORT, nack=True), source=5
    )
    ((to, ping),) = bench.sent(Ping)
    assert to == target
    assert ping.node == "n6"
    return ping.seq_no


def test_a_helper_forwards_the_ack_once_and_without_payload() -> None:
    bench = Bench(0)
    seq_no = asked_to_help(bench)
    bench.receive(Ack(seq_no, b"coordinate"), source=6)
    assert bench.sent(Ack) == [(address(5), Ack(77))]
    bench.receive(Ack(seq_no), source=6)
    assert bench.sent(Ack) == []
    bench.after(1.0)
    assert bench.sent(Nack) == []


def test_a_helper_says_so_when_the_target_is_silent() -> None:
    bench = Bench(0)
    seq_no = asked_to_help(bench)
    bench.after(0.39)
    assert bench.sent(Nack) == []
    bench.after(0.02)
    assert bench.sent(Nack) == [(address(5), Nack(77))]
    bench.after(0.2)
    bench.receive(Ack(seq_no), source=6)
    assert bench.sent(Ack) == [], "too late to forward"


def test_relayed_probes_are_bounded() -> None:
    bench = Bench(0, acks_pending_max=2)
    for index in range(5):
        bench.receive(
            IndirectPing(seq_no=index, node="x", target=bytes(4), port=1, nack=True), source=5
        )
    assert len(bench.sent(Ping)) == 2
    assert bench.swim._stats.dropped == {"relays_full": 3}


def test_gossip_goes_to_the_living_and_the_lately_dead_but_not_to_the_left() -> None:
    bench = Bench(3)
    bench.receive(Dead(1, "n0", "n0"))
    bench.receive(Dead(1, "n1", "me"))
    bench.take()
    bench.after(0.25)
    targets = {e.to for e in bench.take() if isinstance(e, SendPacket)}
    assert address(2) not in targets
    assert address(4) in targets


def test_an_idle_member_wakes_only_to_probe() -> None:
    bench = Bench(1)
    for _ in range(3):
        _, ping = bench.until_ping()
        bench.receive(Ack(ping.seq_no))
    bench.after(10.0)
    bench = Bench(0)
    bench.swim.queue.take(5000, transmits_max=1)
    assert not bench.swim.queue
    first = bench.swim.deadline
    bench.swim.tick(first)
    assert bench.swim.deadline == pytest.approx(first + 1.0)


def test_full_state_is_exchanged_with_one_live_member_per_interval() -> None:
    config = GossipConfig.lan("me")
    swim = Swim(config, rng=random.Random(3), packet_budget_bytes=1398, stats=GossipStats())
    swim.start(address(1), b"", 0.0)
    swim.receive(alive("n0", 2), address(2), 0.0)
    seen: list[float] = []
    while len(seen) < 4:
        now = swim.deadline
        swim.tick(now)
        for effect in swim.out:
            if isinstance(effect, ExchangeState):
                assert (effect.to, effect.join) == (address(2), False)
                seen.append(now)
            elif isinstance(effect, SendPacket):
                for part in effect.messages:
                    if isinstance(ping := messages.decode(part), Ping):
                        swim.receive(Ack(ping.seq_no), address(2), now)
        swim.out.clear()
    gaps = [b - a for a, b in zip(seen, seen[1:], strict=False)]  # noqa: RUF007
    assert gaps == pytest.approx([30.0] * 3)


names = st.sampled_from(["me", "n0", "n1", "x"])
small = st.integers(0, 5)
inputs = st.one_of(
    st.builds(Suspect, small, names, names),
    st.builds(Dead, small, names, names),
    st.builds(lambda n, i: alive(n, 2, i), names, small),
    st.builds(Ack, st.integers(0, 9)),
    st.builds(Nack, st.integers(0, 9)),
    st.builds(Ping, seq_no=small, node=names),
    st.floats(0.01, 3.0),
)


@settings(max_examples=scaled(100), deadline=None)
@given(st.lists(inputs, max_size=60))
def test_no_sequence_of_messages_breaks_the_invariants(steps: list[Any]) -> None:
    bench = Bench(2)
    for step in steps:
        if isinstance(step, float):
            bench.after(step)
        else:
            bench.receive(step)
        bench.take()  # checks the invariants
        assert bench.state("me") is State.ALIVE


def test_copies_for_the_dead_are_not_taken_from_those_for_the_living() -> None:
    bench = Bench(2)
    bench.receive(Dead(1, "n1", "me"))
    bench.after(5.0)
    bench.take()
    bench.swim.queue.add(b"\x03news")
    to_living = 0
    for _ in range(40):
        bench.now = max(bench.now, bench.swim._next_gossip_at)
        bench.swim.tick(bench.now)
        for effect in bench.swim.out:
            if isinstance(effect, SendPacket) and b"\x03news" in effect.messages:
                to_living += effect.to == address(2)
        bench.swim.out.clear()
        if not bench.swim.queue:
            break
    assert to_living == 4, "as many as the limit says, all of them to the one that lives"
