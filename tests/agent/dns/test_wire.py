"""Packets in and out: malformed ones are classified, replies are what dnspython reads."""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from dns.rcode import Rcode
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.dns import records, wire
from agent.dns.wire import Question, Refusal, Reply, Silence, read_question, write_reply
from tests.strategies import scaled

LABELS = st.lists(st.text("abcXYZ019-_", min_size=1, max_size=20), min_size=1, max_size=6).map(
    lambda labels: ".".join(labels) + "."
)


def asked(name: str = "Web.service.consul.", qtype: str = "A", **options: object) -> Question:
    packet = dns.message.make_query(name, qtype, **options).to_wire()  # type: ignore[arg-type]
    question = read_question(packet)
    assert isinstance(question, Question)
    return question


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
@example(bytes.fromhex("123401000001000000000000c00c00010001"))
@example(bytes.fromhex("1234010000010000000000003f6100010001"))
def test_random_packets_never_raise(data: bytes) -> None:
    result = read_question(data)
    if isinstance(result, Refusal):
        header = data[:2] + result.body
        assert header[2] & 0x80
        assert header[3] & 0xF == result.rcode
    elif isinstance(result, Question):
        assert result.wire.startswith(result.name)
    else:
        assert result is Silence.NO_REPLY
        assert len(data) < 12 or data[2] & 0x80


@settings(max_examples=scaled(200), deadline=None)
@given(LABELS, st.integers(0, 65535), st.booleans(), st.data())
def test_damaged_questions_never_raise(
    name: str, qtype: int, edns: bool, data: st.DataObject
) -> None:
    packet = bytearray(dns.message.make_query(name, qtype, use_edns=edns).to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    read_question(bytes(packet[: data.draw(st.integers(0, len(packet)))]))


@pytest.mark.parametrize("opcode", [1, 2, 5, 6, 15])
def test_other_opcodes_are_not_implemented_and_get_a_bare_header(opcode: int) -> None:
    packet = bytearray(dns.message.make_query("a.consul.", "A").to_wire())
    packet[2] = opcode << 3
    result = read_question(bytes(packet))
    assert isinstance(result, Refusal)
    assert result.rcode == Rcode.NOTIMP
    assert len(result.body) == 10


def test_a_cut_opt_record_is_a_format_error_with_the_question() -> None:
    packet = dns.message.make_query("a.consul.", "A", use_edns=0).to_wire()[:-1]
    result = read_question(packet)
    assert isinstance(result, Refusal)
    assert result.rcode == Rcode.FORMERR
    assert result.body[2:4] == b"\0\1"


def test_a_name_longer_than_255_bytes_is_a_format_error() -> None:
    packet = b"\0\1\1\0\0\1" + b"\0" * 6 + (b"\x3f" + b"a" * 63) * 4 + b"\0" + b"\0\1\0\1"
    assert isinstance(read_question(packet), Refusal)


def test_edns_size_and_client_subnet_are_read() -> None:
    option = dns.edns.ECSOption("192.0.2.0", 24)
    question = asked(use_edns=0, payload=1400, options=[option])
    assert question.edns is not None
    assert question.edns.payload_bytes == 1400
    packet = write_reply(Reply(question=question, rcode=Rcode.NOERROR), compress=True)
    read = dns.message.from_wire(packet)
    assert read.payload == 1400
    assert [(o.srclen, o.scopelen) for o in read.options] == [(24, 0)]  # type: ignore[attr-defined]


def test_rd_and_cd_are_echoed_and_other_bits_are_not() -> None:
    packet = bytearray(dns.message.make_query("a.consul.", "A").to_wire())
    packet[2:4] = b"\x07\xf0"  # AA TC RD, RA Z AD CD
    question = read_question(bytes(packet))
    assert isinstance(question, Question)
    bits = wire.reply_flags(Reply(question=question, rcode=Rcode.NOERROR, authoritative=False))
    assert bits == dns.flags.QR | dns.flags.RD | dns.flags.CD


@settings(max_examples=scaled(100), deadline=None)
@given(
    LABELS,
    st.lists(st.tuples(LABELS, LABELS, st.integers(0, 65535)), max_size=12),
    st.booleans(),
)
def test_replies_are_what_dnspython_reads(
    name: str, targets: list[tuple[str, str, int]], compress: bool
) -> None:
    question = asked(name, "SRV")
    answers, additional, lines = [], [], []
    for owner, target, port in targets:
        owner_wire, target_wire = records.name_wire(owner), records.name_wire(target)
        assert owner_wire is not None
        assert target_wire is not None
        answers.append(records.srv(owner_wire, 7, 3, port, target_wire))
        additional.append(records.address(target_wire, 9, bytes([10, 0, port >> 8, port & 255])))
        lines.append(f"{owner} 7 IN SRV 1 3 {port} {target}")
    reply = Reply(question=question, rcode=Rcode.NOERROR, answers=answers, additional=additional)
    packet = write_reply(reply, compress=compress)
    read = dns.message.from_wire(packet, one_rr_per_rrset=True)
    assert [rrset.to_text() for rrset in read.answer] == lines
    assert [rrset.name for rrset in read.additional] == [
        dns.name.from_text(target) for _, target, _ in targets
    ]
    assert packet[12 : 12 + len(question.wire)] == question.wire
    assert len(packet) <= wire.full_bytes(reply)
    if not compress:
        assert len(packet) == wire.full_bytes(reply)


def test_names_beyond_the_reach_of_pointers_are_written_out() -> None:
    question = asked("web.service.consul.", "SRV")
    owner = question.name
    targets = [records.name_wire(f"node-{n:04}.node.dc1.consul.") for n in range(800)]
    answers = [records.srv(owner, 0, 1, 80, target) for target in targets if target]
    glue = [records.address(target, 0, bytes(4)) for target in targets if target]
    reply = Reply(question=question, rcode=Rcode.NOERROR, answers=answers, additional=glue)
    read = dns.message.from_wire(write_reply(reply, compress=True), one_rr_per_rrset=True)
    assert [rrset.name.to_wire() for rrset in read.additional] == targets
