"""Replies to one network are bounded, others do not suffer, and memory does not grow."""

from __future__ import annotations

import collections

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dns.rate_limit import Fate, ResponseRates, question_end, slipped


def reply(name: str = "web.service.consul.", rcode: int = 0) -> bytes:
    message = dns.message.make_response(dns.message.make_query(name, "A"))
    message.set_rcode(dns.rcode.Rcode.make(rcode))
    return message.to_wire()


def rates(per_second: int = 10, **options: object) -> ResponseRates:
    settings = {"slip": 2, "exempt": ["127.0.0.0/8"], "buckets_max": 100} | options
    return ResponseRates(per_second, **settings)  # type: ignore[arg-type]


def fates(limit: ResponseRates, clients: list[str], packet: bytes, now: float = 0.0) -> list[Fate]:
    return [limit.decide(client, packet, now) for client in clients]


def test_a_second_has_so_many_and_what_is_more_comes_back_over_tcp() -> None:
    limit = rates(10)
    told = collections.Counter(fates(limit, ["192.0.2.1"] * 30, reply()))
    assert told == {Fate.SENT: 10, Fate.DROPPED: 10, Fate.SLIPPED: 10}
    told = collections.Counter(fates(limit, ["192.0.2.1"] * 30, reply(), now=0.5))
    assert told[Fate.SENT] == 5
    told = collections.Counter(fates(limit, ["192.0.2.1"] * 30, reply(), now=100.0))
    assert told[Fate.SENT] == 10


def test_neighbours_share_and_others_do_not() -> None:
    limit = rates(4, slip=0)
    assert fates(limit, ["192.0.2.1", "192.0.2.2"] * 4, reply()).count(Fate.SENT) == 4
    assert fates(limit, ["192.0.3.1"] * 4, reply()).count(Fate.SENT) == 4
    assert fates(limit, ["2001:db8:0:1::1", "2001:db8:0:2::1"] * 4, reply()).count(Fate.SENT) == 4
    assert fates(limit, ["::ffff:192.0.2.9"], reply()) == [Fate.DROPPED]
    assert fates(limit, ["127.0.0.1"] * 100, reply()) == [Fate.SENT] * 100


def test_other_questions_count_for_themselves_and_made_up_names_together() -> None:
    limit = rates(4, slip=0)
    for number in range(20):
        assert limit.decide("192.0.2.1", reply(f"s{number}.service.consul."), 0.0) is Fate.SENT
    wrong = [
        limit.decide("192.0.2.1", reply(f"no{number}.service.consul.", 3), 0.0)
        for number in range(20)
    ]
    assert wrong.count(Fate.SENT) == 4
    mixed = [
        limit.decide("198.51.100.1", reply(name), 0.0)
        for name in ("web.service.consul.", "WEB.service.consul.") * 4
    ]
    assert mixed.count(Fate.SENT) == 4


@given(st.lists(st.integers(0, 2**32 - 1), max_size=200))
def test_memory_is_bounded(clients: list[int]) -> None:
    limit = rates(4, buckets_max=8)
    for number, client in enumerate(clients):
        text = ".".join(str(byte) for byte in client.to_bytes(4, "big"))
        limit.decide(text, reply(), number / 10)
        assert len(limit) <= 8


@pytest.mark.parametrize("name", [".", "web.service.consul."])
def test_a_slipped_reply_is_a_whole_message(name: str) -> None:
    packet = reply(name)
    message = dns.message.from_wire(slipped(packet))
    assert message.flags & dns.flags.TC
    assert message.question[0].name.to_text() == name
    assert not message.answer
    assert question_end(packet) == len(packet)
    header_only = packet[:4] + b"\0" * 8
    assert slipped(header_only)[4:] == b"\0" * 8
