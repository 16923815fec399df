"""Replies of other servers: what dnspython writes is read, anything else is refused in time."""

import time

import dns.message
import dns.name
import dns.rrset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.dns.reply_reading import STEPS_MAX, Unreadable, read_reply
from tests.strategies import scaled


def reply_bytes(*lines: str) -> bytes:
    message = dns.message.make_response(dns.message.make_query("Www.example.", "A"))
    for line in lines:
        name, ttl, rclass, rtype, data = line.split(" ", 4)
        message.answer.append(dns.rrset.from_text(name, int(ttl), rclass, rtype, data))
    return message.to_wire()


def test_names_are_followed_and_data_is_taken_over() -> None:
    packet = reply_bytes(
        "www.example. 300 IN CNAME mid.example.",
        "mid.example. 200 IN CNAME end.other.",
        "end.other. 100 IN A 192.0.2.1",
        "end.other. 100 IN MX 10 mail.other.",
    )
    reply = read_reply(packet)
    assert reply.name == dns.name.from_text("www.example.").to_wire()
    assert (reply.qtype, reply.qclass, reply.rcode) == (1, 1, 0)
    first, second, third = reply.answers  # the MX holds a name that may point elsewhere
    assert first.tail[first.name_at :] == dns.name.from_text("mid.example.").to_wire()
    assert second.owner == dns.name.from_text("mid.example.").to_wire()
    assert third.tail[-4:] == bytes((192, 0, 2, 1))


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(reply_bytes("www.example. 1 IN A 192.0.2.1")[:-1], id="cut"),
        pytest.param(b"\0\0\x80\0\0\0\0\1" + b"\0" * 4 + b"\xc0\x0c" + b"\0" * 10, id="to itself"),
        pytest.param(b"\0\0\x80\0\0\2" + b"\0" * 6, id="two questions"),
        pytest.param(
            b"\0\0\x80\0\0\0\0\1\0\0\0\0\0\0\1\0\1\0\0\0\0\0\3abc", id="address of three bytes"
        ),
    ],
)
def test_what_is_no_message_is_unreadable(packet: bytes) -> None:
    with pytest.raises(Unreadable):
        read_reply(packet)


def test_a_packet_of_pointers_costs_no_more_than_a_few_milliseconds() -> None:
    labels = b"\1a" * 120 + b"\0"
    record = b"\xc0\x0c" + b"\0\x10\0\1\0\0\0\0\0\0"
    count = 5000
    packet = b"\0\0\x80\0\0\1" + count.to_bytes(2, "big") + b"\0" * 4 + labels + b"\0\1\0\1"
    began = time.process_time()
    with pytest.raises(Unreadable):
        read_reply(packet + record * count)
    assert time.process_time() - began < 0.2
    assert count * 120 > STEPS_MAX


@settings(max_examples=scaled(300), deadline=None)
@given(st.binary(max_size=120), st.integers(0, 3), st.binary(max_size=4))
def test_whatever_comes_is_read_or_unreadable(data: bytes, at: int, noise: bytes) -> None:
    whole = reply_bytes("www.example. 1 IN CNAME mid.example.", "mid.example. 1 IN A 192.0.2.1")
    place = len(whole) * at // 3
    for packet in (data, whole[:place] + noise + whole[place + len(noise) :]):
        try:
            reply = read_reply(packet)
        except Unreadable:
            continue
        for record in reply.answers:
            assert dns.name.from_wire(record.owner, 0)[1] == len(record.owner)
