"""Whatever arrives: no exception escapes, what is refused changes nothing, old news is no news."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.config import GossipConfig
from gossip.effects import SendPacket
from gossip.errors import GossipError
from gossip.roster import MemberStatus
from gossip.wire import messages, serf
from gossip.wire.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    PushPull,
    State,
    Suspect,
    User,
)
from gossip.wire.streams import StreamReader
from tests.gossip import vectors
from tests.gossip.cores import PEER, SOON, bare, state_of
from tests.sim.gossip_net import NONCE, SimAgent, SimNet
from tests.strategies import scaled

KEY, FOREIGN = bytes(range(16)), bytes(range(16, 48))
RECORDED = [v for v in vectors.load()["vectors"] if v["decoded"]["kind"] != "encrypt_udp"]
PACKETS = [bytes.fromhex(v["hex"]) for v in RECORDED if v["transport"] == "udp"]
STREAMS = [
    bytes.fromhex(v["hex"])
    for v in RECORDED
    if v["transport"] == "tcp" and v["decoded"]["kind"] != "encrypt_tcp" and v["length"] < 3000
]

u32 = st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1))
u64 = st.one_of(st.integers(0, 9), st.integers(0, 2**64 - 1))
names = st.sampled_from(["me", "peer", "n2", "n3", "", "x" * 130, "é\x00"])
addresses = st.sampled_from([PEER.ip, bytes((10, 0, 0, 3)), bytes(16), b"", b"abc", bytes(4)])
ports = st.sampled_from([7946, 0, 65_535])
metas = st.sampled_from(
    [None, b"", b"\xff\x80", b"web", b"\xff\x81\xa1a\xa1b", b"\xff\xc1", b"m" * 600]
)
versions = st.sampled_from(
    [b"\x01\x05\x02\x02\x05\x05", None, b"", b"\x00" * 6, b"\x05\x01\x02\x02\x05\x05", b"\x09" * 6]
)
filters = st.none() | st.lists(
    st.sampled_from([b"\x00\x91\xa2me", b"\x01\x82\xa4Expr\xa2(a\xa3Tag\xa4role", b"", b"\x02"]),
    max_size=3,
).map(tuple)
payloads = st.none() | st.binary(max_size=40)
query_names = st.sampled_from(
    ["q", "_serf_ping", "_serf_conflict", "_serf_install-key", "_serf_use-key", "_serf_list-keys"]
)
SERF_MESSAGES = st.one_of(
    st.builds(serf.LeaveIntent, u64, names, st.booleans()),
    st.builds(serf.JoinIntent, u64, names),
    st.builds(serf.UserEvent, u64, names, payloads, st.booleans()),
    st.builds(
        serf.Query,
        ltime=u64,
        id=u32,
        address=addresses,
        port=ports,
        source_node=names,
        filters=filters,
        flags=st.integers(0, 3),
        relay_factor=st.sampled_from([0, 1, 255]),
        timeout_ns=st.integers(-(2**63), 2**63 - 1),
        name=query_names,
        payload=payloads,
    ),
    st.builds(serf.QueryResponse, ltime=u64, id=u32, sender=names, flags=u32, payload=payloads),
    st.builds(serf.Relay, address=addresses, port=ports, name=names, inner=st.binary(max_size=9)),
)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Alive,
        incarnation=u32,
        node=names,
        address=addresses,
        port=ports,
        meta=metas,
        versions=versions,
    ),
    st.builds(Suspect, u32, names, names),
    st.builds(Dead, u32, names, names),
    st.builds(Ping, seq_no=u32, node=names, source_address=addresses, source_port=ports),
    st.builds(
        IndirectPing,
        seq_no=u32,
        node=names,
        target=addresses,
        port=ports,
        nack=st.booleans(),
        source_address=addresses,
        source_port=ports,
    ),
    st.builds(Ack, u32, payloads),
    st.builds(Nack, u32),
    st.builds(User, st.binary(max_size=60)),
    SERF_MESSAGES.map(lambda inner: User(serf.encode(inner))),
)
NODES = st.builds(
    NodeState,
    incarnation=u32,
    name=names,
    address=addresses,
    port=ports,
    meta=metas,
    versions=versions,
    state=st.sampled_from(State),
)
USER_STATES = st.one_of(
    st.binary(max_size=30),
    st.builds(
        serf.SerfState,
        ltime=u64,
        status_ltimes=st.dictionaries(names, u64, max_size=3),
        left_members=st.none() | st.lists(names, max_size=3).map(tuple),
        event_ltime=u64,
        events=st.none()
        | st.lists(st.none() | st.builds(serf.EventSlot, u64, st.just((("e", b"p"),)))).map(tuple),
        query_ltime=u64,
    ).map(serf.encode),
)
STEPS = st.one_of(
    st.lists(MESSAGES, min_size=1, max_size=4),
    st.builds(PushPull, st.booleans(), st.lists(NODES, max_size=4).map(tuple), USER_STATES),
    st.sampled_from([0.1, 1.0, 20.0, 60.0]),
)


@st.composite
def damaged(draw: st.DrawFn, recorded: list[bytes]) -> bytes:
    """A recorded piece of traffic with a few bytes changed, cut out, or doubled."""
    data = bytearray(draw(st.sampled_from(recorded)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 3)):
            case 0 if data:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at : at + draw(st.integers(1, 20))]
            case 2:
                data[at:at] = data[at : at + 8]
            case _:
                del data[at:]
    return bytes(data)


@settings(max_examples=scaled(200), deadline=None)
@given(damaged(PACKETS))
def test_a_damaged_packet_is_read_or_dropped_and_counted(data: bytes) -> None:
    member = bare()
    before = state_of(member.core, member.framing)
    member.datagram(data, PEER, SOON)
    member.core.check()
    member.packets()
    if member.refuses(data):
        assert sum(member.stats.dropped.values()) >= 1
        assert state_of(member.core, member.framing) == before


@settings(max_examples=scaled(150), deadline=None)
@given(damaged(STREAMS), st.integers(1, 200))
def test_a_damaged_stream_is_read_or_refused(data: bytes, size: int) -> None:
    member = bare()
    reader = StreamReader(member.framing)
    with contextlib.suppress(GossipError):
        for start in range(0, len(data), size):
            message = reader.feed(data[start : start + size])
            if isinstance(message, PushPull):
                member.core.merge_state(message, SOON)
            if message is not None:
                break
    member.core.check()


@settings(max_examples=scaled(50), deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_whatever_is_said_the_core_keeps_its_invariants(
    steps: list[list[Message] | PushPull | float],
) -> None:
    member, now = bare(keys=(KEY,), members_max=8, intents_max=4, broadcasts_max=16), 0.0
    for step in steps:
        match step:
            case PushPull():
                before = state_of(member.core, member.framing)
                try:
                    member.core.merge_state(step, now)
                except GossipError:
                    assert state_of(member.core, member.framing) == before
            case list():
                parts = [messages.encode(message) for message in step]
                member.core.receive_packet(parts, PEER, now)
            case _:
                until = now + step
                while member.core.deadline <= until:
                    now = max(now, member.core.deadline)
                    member.core.tick(now)
                    member.packets()
                now = until
        member.core.check()
        assert all(len(packet) <= 65_507 for packet in member.packets())
    assert len(member.core.swim.table) <= 8
    assert member.core.broadcasts_queued <= 4 * 16


@pytest.mark.parametrize(
    ("member", "sender", "reason"),
    [
        ({"keys": (KEY,)}, {"keys": (FOREIGN,)}, "undecryptable"),
        ({"keys": (KEY,)}, {}, "undecryptable"),
        ({"label": "dc1"}, {"label": "dc2"}, "label"),
        ({"label": "dc1"}, {}, "label"),
        ({}, {"label": "dc2"}, "label"),
        ({"label": "dc1", "keys": (KEY,)}, {"keys": (KEY,)}, "label"),
    ],
    ids=["foreign key", "no key", "foreign label", "no label", "label", "key without label"],
)
def test_packets_of_a_foreign_ring_change_nothing_and_are_counted(
    member: dict[str, object], sender: dict[str, object], reason: str
) -> None:
    ours, theirs = bare(**member), bare("peer", **sender)
    before = state_of(ours.core, ours.framing)
    alive = Alive(
        incarnation=1,
        node="peer",
        address=PEER.ip,
        port=PEER.port,
        meta=b"\xff\x80",
        versions=b"\x01\x05\x02\x02\x05\x05",
    )
    said = [alive, Ping(seq_no=1, node="me"), Suspect(9, "me", "peer"), Dead(9, "me", "peer")]
    for message in said:
        data = theirs.framing.encode_packet([messages.encode(message)], crc=True, nonce=NONCE)
        ours.datagram(data, PEER, SOON)
    assert ours.stats.dropped == {reason: len(said)}
    assert state_of(ours.core, ours.framing) == before
    assert ours.packets() == [], "not even an answer"
    # The same in their own ring is heard: it is the envelope that made the difference.
    friend = bare("friend", **sender)
    friend.datagram(
        theirs.framing.encode_packet([messages.encode(alive)], crc=True, nonce=NONCE), PEER, SOON
    )
    assert "peer" in friend.core.roster.entries


@dataclass(slots=True, eq=False)
class _Recorder(SimNet):
    """A ring that keeps every datagram that was delivered."""

    log: list[tuple[SimAgent, SimAgent, bytes]] = field(default_factory=list)

    def _deliver(self, sender: SimAgent, target: SimAgent, data: bytes) -> None:
        self.log.append((sender, target, data))
        SimNet._deliver(self, sender, target, data)


def _eventful(seed: int, keys: tuple[bytes, ...]) -> _Recorder:
    """A ring that had joins, a change of tags, an event, a failure, a return and a leave."""
    net = _Recorder(seed)
    config = GossipConfig.lan("profile", keys=keys)
    for name in ("n0", "n1", "n2", "n3"):
        net.add(name, dataclasses.replace(config, name=name))
        if name != "n0":
            net.join(name, "n0")
    assert net.run(60.0, net.converged) is not None
    net.agents["n1"].core.set_tags({"role": "web"}, net.now)
    net.agents["n0"].core.user_event("deploy", b"v1", coalesce=False, now=net.now)
    net.settle(net.agents["n1"])
    net.settle(net.agents["n0"])
    net.run(5.0)
    net.kill("n2")
    assert net.run(60.0, lambda: net.all_see("n2", MemberStatus.FAILED)) is not None
    net.add("n2", dataclasses.replace(config, name="n2"))
    net.join("n2", "n0")
    assert net.run(60.0, net.converged) is not None
    net.agents["n3"].core.leave(net.now)
    net.settle(net.agents["n3"])
    assert net.run(60.0, lambda: net.all_see("n3", MemberStatus.LEFT)) is not None
    net.run(20.0)
    assert len(net.log) > 100
    return net


@pytest.fixture(scope="module", params=[(), (KEY,)], ids=["plain", "encrypted"])
def past(request: pytest.FixtureRequest) -> _Recorder:
    return _eventful(7, request.param)


@pytest.mark.parametrize("seed", range(5))
def test_traffic_of_the_past_said_again_changes_nothing(past: _Recorder, seed: int) -> None:
    """Any prefix of it, in its order or in another, from whoever caught it."""
    rng = random.Random(seed)
    prefix = past.log[: rng.randint(1, len(past.log))] if seed else list(past.log)
    if seed % 2:
        rng.shuffle(prefix)
    for name in ("n0", "n1", "n2"):
        agent = past.agents[name]
        before = state_of(agent.core, agent.framing)
        for sender, target, data in prefix:
            if target.name == name:
                parts = agent.framing.decode_packet(data)
                agent.core.receive_packet(parts, sender.address, past.now)
        effects = agent.core.drain()
        assert all(isinstance(effect, SendPacket) for effect in effects), "answers to pings only"
        assert state_of(agent.core, agent.framing) == before
        assert agent.stats.dropped == {}
