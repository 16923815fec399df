"""What is fuzzed: each target takes any bytes, lets no exception out, and asks what must hold."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from gossip import coordinates, filters, keyfile, rejoin
from gossip.config import GossipConfig
from gossip.errors import DecodeError, GossipError
from gossip.patterns import PatternError, compile_pattern
from gossip.wire import lzw, serf
from gossip.wire.messages import PushPull
from gossip.wire.streams import StreamReader
from tests.fuzz import dns as dns_packets
from tests.fuzz import logins
from tests.gossip import vectors
from tests.gossip.cores import PEER, SOON, bare, state_of

KEY = bytes(range(16))
CONFIG = GossipConfig(name="me")


def packet(data: bytes) -> None:
    """A datagram, and a minute of what follows from it."""
    member = bare()
    before = state_of(member.core, member.framing)
    member.datagram(data, PEER, SOON)
    member.core.check()
    if member.refuses(data):
        assert sum(member.stats.dropped.values()) >= 1
        assert state_of(member.core, member.framing) == before
    now = SOON
    while member.core.deadline <= 61.0:
        now = max(now, member.core.deadline)
        member.core.tick(now)
        assert all(len(sent) <= 65_507 for sent in member.packets())
    member.core.check()


def sealed(data: bytes) -> None:
    """A datagram to a member with a key and a label: nothing without them gets in."""
    member = bare(keys=(KEY,), label="dc1")
    before = state_of(member.core, member.framing)
    member.datagram(data, PEER, SOON)
    assert state_of(member.core, member.framing) == before
    assert member.packets() == []


def stream(data: bytes) -> None:
    """One direction of a TCP exchange; the first byte says in which pieces it comes."""
    member = bare()
    reader, size = StreamReader(member.framing), 1 + (data[0] if data else 0)
    before = state_of(member.core, member.framing)
    for start in range(1, len(data), size):
        try:
            message = reader.feed(data[start : start + size])
            if isinstance(message, PushPull):
                member.core.merge_state(message, SOON)
        except GossipError:
            assert state_of(member.core, member.framing) == before
            break
        if message is not None:
            break
    member.core.check()


def serf_message(data: bytes) -> None:
    """What a user message carries."""
    member = bare(keys=(KEY,))
    member.core.receive_user(data, SOON)
    member.core.check()
    with contextlib.suppress(DecodeError):
        message = serf.decode(data)
        assert serf.decode(serf.encode(message)) == message


def small_ones(data: bytes) -> None:
    """Tags, filters, patterns, coordinates, compressed bytes, the files of keys and of peers."""
    serf.decode_tags(data)
    with contextlib.suppress(DecodeError):
        serf.decode_filter(data)
    filters.tag_matches(data.decode("latin-1"), "a" * 100, states_max=CONFIG.filter_states_max)
    with contextlib.suppress(PatternError):
        compile_pattern(data.decode("latin-1")).search("a" * 100)
    with contextlib.suppress(DecodeError):
        coordinates.decode_payload(data)
    with contextlib.suppress(DecodeError):
        assert len(lzw.decompress(data, output_bytes_max=100_000)) <= 100_000
    with contextlib.suppress(GossipError):
        assert keyfile.parse(data, "file")
    rejoin.parse(data, after_leave=False)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "packet": packet,
    "sealed": sealed,
    "stream": stream,
    "serf_message": serf_message,
    "small_ones": small_ones,
    "dns_question": dns_packets.question,
    "dns_reply": dns_packets.upstream_reply,
    "login_bearer": logins.bearer,
    "login_said": logins.said,
}


def seeds(target: str) -> Iterator[bytes]:
    """Recorded traffic to begin with."""
    if target == "dns_question":
        yield from dns_packets.question_seeds()
    elif target == "dns_reply":
        yield from dns_packets.reply_seeds()
    elif target == "login_bearer":
        yield from logins.bearer_seeds()
    elif target == "login_said":
        yield from logins.said_seeds()
    for vector in vectors.load()["vectors"]:
        data = bytes.fromhex(vector["hex"])
        if target == "stream" and vector["transport"] == "tcp":
            yield b"\xff" + data
        elif target in ("packet", "sealed") and vector["transport"] == "udp":
            yield data
        elif target == "serf_message" and (at := data.find(b"\x08")) >= 0:
            yield data[at + 1 :]
    if target == "small_ones":
        yield from (
            b"\xff\x80",
            b"\x00\x91\xa2n1",
            b"(a|b)+[c-e]{1,3}$",
            b'["AAAAAAAAAAAAAAAAAAAAAA=="]',
        )
        yield b"alive: n1 127.0.0.1:7946\nclock: 7\nevent-clock: 3\nnot-alive: n1\nleave\n"
        yield coordinates.encode_payload(coordinates.Coordinate())
        yield lzw.compress(b"hello hello hello")
