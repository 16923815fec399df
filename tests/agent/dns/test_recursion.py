"""Whom to ask, who may ask, which reply is believed, and when a recursor turns in a circle."""

import random

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dns.recursion import (
    LOCAL_NETWORKS,
    LOOP_HOLD_S,
    PROBE_EVERY_S,
    Insiders,
    Loops,
    Recursor,
    Verdict,
    judge,
    others,
    parse_recursor,
)
from agent.dns.wire import Question, read_question

ID = 4711


def asked(name: str = "www.Example.", qtype: str = "A") -> Question:
    question = read_question(dns.message.make_query(name, qtype, id=ID).to_wire())
    assert isinstance(question, Question)
    return question


def reply(name: str = "www.Example.", qtype: str = "A", *, id: int = ID) -> dns.message.Message:
    message = dns.message.make_response(dns.message.make_query(name, qtype, id=id))
    message.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1"))
    return message


@pytest.mark.parametrize(
    ("text", "recursor"),
    [
        ("192.0.2.1", Recursor("192.0.2.1", 53)),
        ("192.0.2.1:5353", Recursor("192.0.2.1", 5353)),
        ("2001:db8::1", Recursor("2001:db8::1", 53)),
        ("[2001:db8::1]", Recursor("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", Recursor("2001:db8::1", 5353)),
    ],
)
def test_addresses_are_read_with_and_without_a_port(text: str, recursor: Recursor) -> None:
    assert parse_recursor(text) == recursor
    assert parse_recursor(str(recursor)) == recursor


def test_the_agent_itself_is_left_out() -> None:
    mine, other = Recursor("127.0.0.1", 8600), Recursor("127.0.0.1", 53)
    assert others([mine, other], [("127.0.0.1", 8600)]) == ([other], [mine])
    assert others([mine, other], [("0.0.0.0", 8600)]) == ([other], [mine])


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:192.168.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
    ],
)
def test_who_is_an_outsider_by_default(host: str, is_local: bool) -> None:
    assert Insiders(LOCAL_NETWORKS).allows(host) is is_local
    assert Insiders(["0.0.0.0/0", "::/0"]).allows(host)
    assert not Insiders(["203.0.113.0/24"]).allows(host)


def with_rcode(rcode: dns.rcode.Rcode) -> dns.message.Message:
    message = reply()
    message.answer.clear()
    message.set_rcode(rcode)
    return message


def refused_without_question() -> dns.message.Message:
    message = with_rcode(dns.rcode.REFUSED)
    message.question.clear()
    return message


def empty_without_question() -> dns.message.Message:
    message = with_rcode(dns.rcode.NOERROR)
    message.question.clear()
    return message


def query_back() -> dns.message.Message:
    message = reply()
    message.flags &= ~dns.flags.QR
    return message


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        pytest.param(reply(), Verdict.FINAL, id="an answer"),
        pytest.param(reply("WWW.example."), Verdict.FINAL, id="other capitals"),
        pytest.param(with_rcode(dns.rcode.NXDOMAIN), Verdict.FINAL, id="no such name"),
        pytest.param(with_rcode(dns.rcode.NOERROR), Verdict.FINAL, id="no data"),
        pytest.param(with_rcode(dns.rcode.SERVFAIL), Verdict.NEXT, id="server failure"),
        pytest.param(with_rcode(dns.rcode.REFUSED), Verdict.NEXT, id="refused"),
        pytest.param(refused_without_question(), Verdict.NEXT, id="refused without question"),
        pytest.param(empty_without_question(), Verdict.IGNORE, id="an answer to nothing"),
        pytest.param(reply(id=ID + 1), Verdict.IGNORE, id="guessed id"),
        pytest.param(reply("evil.example."), Verdict.IGNORE, id="another name"),
        pytest.param(reply(qtype="AAAA"), Verdict.IGNORE, id="another type"),
        pytest.param(query_back(), Verdict.IGNORE, id="no reply at all"),
    ],
)
def test_what_is_believed(message: dns.message.Message, verdict: Verdict) -> None:
    assert judge(asked(), ID, message.to_wire(), bytes_max=512).verdict is verdict


def test_a_reply_that_is_cut_or_too_long_means_the_next() -> None:
    wire = reply().to_wire()
    assert judge(asked(), ID, wire[:-1], bytes_max=512).verdict is Verdict.NEXT
    assert judge(asked(), ID, wire, bytes_max=len(wire) - 1).verdict is Verdict.NEXT


@given(st.binary(max_size=60))
def test_noise_is_never_believed(data: bytes) -> None:
    assert judge(asked(), ID, data, bytes_max=512).verdict is not Verdict.FINAL


def test_a_loop_is_suspected_then_probed_then_proved_then_forgiven() -> None:
    loops, rng = Loops(), random.Random(1)
    looping, other = Recursor("10.0.0.1", 53), Recursor("10.0.0.2", 53)
    question = asked()
    subject = (question.labels, question.qtype)
    assert not loops.is_suspicious(subject, "10.0.0.1")
    loops.begin(subject, looping)
    assert loops.is_suspicious(subject, "10.0.0.1")
    assert not loops.is_suspicious(subject, "10.0.0.9")
    assert not loops.is_suspicious((question.labels, 28), "10.0.0.1")
    ((probed, name),) = loops.probe(question.name, [looping, other], "10.0.0.1", 0.0, rng)
    assert probed == looping
    assert loops.probe(question.name, [looping], "10.0.0.1", 1.0, rng) == []
    assert loops.usable([looping, other], 1.0) == [looping, other]
    label = name[1 : 1 + name[0]]
    assert name.endswith(question.name)
    assert loops.met((b"www", b"example"), 1.0) is None
    assert loops.met((label, b"www", b"example"), 1.0) == looping
    assert loops.met((label, b"www", b"example"), 1.0) is None, "a probe counts once"
    assert loops.usable([looping, other], 1.0) == [other]
    assert loops.known() == (looping,)
    assert loops.usable([looping, other], 1.0 + LOOP_HOLD_S) == [looping, other]
    loops.end(subject, looping)
    assert not loops.is_suspicious(subject, "10.0.0.1")


def test_a_probe_is_forgotten_and_fits_into_a_name() -> None:
    loops, rng = Loops(), random.Random(1)
    recursor = Recursor("10.0.0.1", 53)
    long = asked("x" * 63 + "." + ("y" * 60 + ".") * 3)
    ((_, name),) = loops.probe(long.name, [recursor], "10.0.0.1", 0.0, rng)
    assert len(name) <= 255
    label = name[1 : 1 + name[0]]
    loops.probe(long.name, [recursor], "10.0.0.1", PROBE_EVERY_S, rng)
    assert loops.met((label,), PROBE_EVERY_S) is None
