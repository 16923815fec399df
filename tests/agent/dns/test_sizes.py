"""Replies hold what the transport allows (section 8 of the DNS contract)."""

import random

import dns.flags
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config.schema import AgentConfig, DnsConfig
from agent.dns import answers, sizes
from agent.dns.facts import Facts
from agent.dns.rules import Rules, rules_of
from agent.dns.wire import Question, read_question
from raftstore.queries import HealthEntry, HealthService
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.strategies import scaled


def entries(count: int, name_bytes: int = 8) -> tuple[HealthEntry, ...]:
    made = []
    for number in range(count):
        name = f"n{number:04}".ljust(name_bytes, "x")
        node = Node(name=NodeName(name), address=f"10.0.{number // 250}.{number % 250 + 1}")
        service = Service(node=node.name, id=ServiceId("w"), name=ServiceName("web"), port=80)
        made.append(HealthEntry(node, service, ()))
    return tuple(made)


def reply(
    count: int,
    qtype: str = "SRV",
    *,
    payload: int = 0,
    tcp: bool = False,
    name_bytes: int = 8,
    seed: int = 1,
    **config: object,
) -> tuple[dns.message.Message, bytes]:
    options = {"use_edns": 0, "payload": payload} if payload else {}
    query = dns.message.make_query("web.service.consul.", qtype, **options)  # type: ignore[arg-type]
    question = read_question(query.to_wire())
    assert isinstance(question, Question)
    rules: Rules = rules_of(AgentConfig(node_name="x", dns=DnsConfig(**config)))  # type: ignore[arg-type]
    facts = Facts({HealthService(service=ServiceName("web")): entries(count, name_bytes)})
    rng = random.Random(seed)
    outline = answers.answer(question, rules, facts, rng)
    packet = sizes.write(outline, question, rules, tcp=tcp, rng=rng, now_s=0)
    return dns.message.from_wire(packet, one_rr_per_rrset=True), packet


@pytest.mark.parametrize(("limit", "kept"), [(3, 3), (7, 7), (20, 8), (0, 1)])
def test_plain_udp_holds_at_most_eight_answers(limit: int, kept: int) -> None:
    message, _ = reply(20, "A", udp_answer_limit=limit)
    assert len(message.answer) == kept


def test_truncation_is_told_only_when_asked_for_and_when_something_was_cut() -> None:
    assert not reply(20)[0].flags & dns.flags.TC
    assert reply(20, enable_truncate=True)[0].flags & dns.flags.TC
    assert not reply(3, enable_truncate=True)[0].flags & dns.flags.TC
    assert not reply(20, enable_truncate=True, tcp=True)[0].flags & dns.flags.TC


def test_a_single_record_is_sent_however_big() -> None:
    message, packet = reply(2, payload=513, name_bytes=63, disable_compression=True)
    assert len(message.answer) >= 1
    assert len(packet) <= 513


def test_the_a_record_limit_holds_everywhere_but_not_for_srv() -> None:
    for options in ({}, {"payload": 4096}, {"tcp": True}):
        assert len(reply(9, "A", a_record_limit=2, **options)[0].answer) == 2  # type: ignore[arg-type]
    assert len(reply(9, "SRV", a_record_limit=2, tcp=True)[0].answer) == 9


def test_a_huge_service_gives_a_random_part_of_itself() -> None:
    first, second = reply(1500, tcp=True, seed=1), reply(1500, tcp=True, seed=2)
    assert len(first[0].answer) <= sizes.TCP_SRV_ANSWERS_MAX
    assert {a.to_text() for a in first[0].answer} != {a.to_text() for a in second[0].answer}


def test_edns_is_kept_when_answers_are_cut() -> None:
    message, packet = reply(100, payload=1232)
    assert message.payload == 1232
    assert len(packet) <= 1232 - 7


def test_the_order_depends_on_the_dice_alone() -> None:
    assert reply(20, seed=3)[1] == reply(20, seed=3)[1]
    assert reply(20, seed=3)[1] != reply(20, seed=4)[1]


@settings(max_examples=scaled(60), deadline=None)
@given(
    count=st.integers(1, 60),
    payload=st.sampled_from([0, 1, 512, 513, 600, 1232, 4096, 65535]),
    tcp=st.booleans(),
    name_bytes=st.integers(5, 63),
    seed=st.integers(0, 99),
)
def test_whatever_is_sent_fits_and_its_glue_is_complete(
    count: int, payload: int, tcp: bool, name_bytes: int, seed: int
) -> None:
    message, packet = reply(count, payload=payload, tcp=tcp, name_bytes=name_bytes, seed=seed)
    limit = 65535 if tcp else max(512, payload)
    assert len(packet) <= limit or len(message.answer) == 1
    targets = {rdata.target for rrset in message.answer for rdata in rrset}
    assert targets == {rrset.name for rrset in message.additional}
    assert 1 <= len(message.answer) <= count
    if tcp and count * 200 < limit:
        assert len(message.answer) == count
