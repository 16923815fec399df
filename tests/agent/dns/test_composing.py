"""Composed replies are the very bytes that the writer makes, for every order."""

from __future__ import annotations

import random

import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config.schema import AgentConfig, DnsConfig
from agent.dns import answers, sizes
from agent.dns.composing import composer_of
from agent.dns.facts import Facts
from agent.dns.rules import rules_of
from agent.dns.steps import at_once
from agent.dns.wire import Question, read_question
from raftstore.queries import HealthEntry, HealthService
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.strategies import scaled


def entries(count: int, *, same_size: bool, meta: bool, hosts: int) -> tuple[HealthEntry, ...]:
    made = []
    for number in range(count):
        name = f"n{number:04}" if same_size else "n" * (1 + number % 9) + str(number)
        node = Node(
            name=NodeName(name),
            address=f"10.0.{number // 250}.{number % 250 + 1}",
            meta={"rack": "r1"} if meta else None,
        )
        service = Service(
            node=node.name, id=ServiceId("w"), name=ServiceName("web"), port=80,
            address="other.example" if number < hosts else "",
        )  # fmt: skip
        made.append(HealthEntry(node, service, ()))
    return tuple(made)


@settings(max_examples=scaled(120), deadline=None)
@given(
    count=st.integers(2, 40),
    qtype=st.sampled_from(["A", "SRV", "ANY", "AAAA"]),
    payload=st.sampled_from([0, 513, 1232, 4096]),
    tcp=st.booleans(),
    same_size=st.booleans(),
    meta=st.booleans(),
    hosts=st.sampled_from([0, 0, 1]),
    compress=st.booleans(),
    truncate=st.booleans(),
)
def test_another_order_is_what_the_writer_makes_of_it(
    count: int, qtype: str, payload: int, tcp: bool, same_size: bool, meta: bool, hosts: int,
    compress: bool, truncate: bool,
) -> None:  # fmt: skip
    options = {"use_edns": 0, "payload": payload} if payload else {}
    packet = dns.message.make_query("Web.service.consul.", qtype, **options).to_wire()  # type: ignore[arg-type]
    question = read_question(packet)
    assert isinstance(question, Question)
    config = DnsConfig(disable_compression=not compress, enable_truncate=truncate)
    rules = rules_of(AgentConfig(node_name="x", dns=config))
    facts = Facts(
        {
            HealthService(service=ServiceName("web")): entries(
                count, same_size=same_size, meta=meta, hosts=hosts
            )
        }
    )
    outline = answers.answer(question, rules, facts, random.Random(1))
    fast = sizes.Orders(outline, question, rules, tcp=tcp, rng=random.Random(2))
    slow = sizes.Orders(outline, question, rules, tcp=tcp, rng=random.Random(2))
    for turn in range(min(count, len(outline.items) or 1)):
        fast.draw()
        slow.draw()
        slow._looked = True  # never composes
        assert fast.write(turn, 0) == slow.write(turn, 0)
    common = same_size and not hosts and compress
    if common and qtype in {"A", "SRV", "ANY"}:
        assert fast._composer is not None, "the common case is the fast one"


@pytest.mark.parametrize("cut", [0, 1, 11])
def test_what_is_no_reply_is_not_composed(cut: int) -> None:
    packet = dns.message.make_query("web.service.consul.", "A").to_wire()
    question = read_question(packet)
    assert isinstance(question, Question)
    assert at_once(composer_of(packet[: len(packet) - cut], question, [])) is None
