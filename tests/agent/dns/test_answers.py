"""What may be asked of any service: never nothing where something fits, cut openly, fair order."""

from __future__ import annotations

import collections
import functools
import itertools
import random
from dataclasses import replace

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config.schema import AgentConfig, DnsConfig
from agent.dns import answers, sizes
from agent.dns.facts import Facts
from agent.dns.ready import ReadyAnswer
from agent.dns.rules import Rules, rules_of
from agent.dns.wire import Question, read_question
from raftstore.queries import HealthEntry, HealthService
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName, Weights
from tests.strategies import scaled

MOST = 5000
WEB = HealthService(service=ServiceName("web"))


def entry(number: int, address: str, weight: int = 1) -> HealthEntry:
    node = Node(name=NodeName(f"node-{number}"), address=address)
    service = Service(
        node=node.name, id=ServiceId("w"), name=ServiceName("web"), port=80,
        weights=Weights(weight, weight),
    )  # fmt: skip
    return HealthEntry(node, service, ())


@functools.cache
def instances(version: int) -> tuple[HealthEntry, ...]:
    """The same nodes for all tests: five thousand take a while to make."""
    form = "10.{}.{}.{}" if version == 4 else "2001:db8:{}:{}::{}"
    return tuple(
        entry(n, form.format(n // 40_000, n // 200 % 200, n % 200 + 1)) for n in range(MOST)
    )


def asked(qtype: str, payload: int) -> Question:
    options = {"use_edns": 0, "payload": payload} if payload else {}
    query = dns.message.make_query("web.service.consul.", qtype, **options)  # type: ignore[arg-type]
    question = read_question(query.to_wire())
    assert isinstance(question, Question)
    return question


def rules(**config: object) -> Rules:
    return rules_of(AgentConfig(node_name="x", dns=DnsConfig(**config)))  # type: ignore[arg-type]


@settings(max_examples=scaled(80), deadline=None)
@given(
    qtype=st.sampled_from(["A", "AAAA", "SRV", "ANY", "TXT", "MX"]),
    count=st.one_of(st.integers(0, 40), st.integers(0, MOST)),
    version=st.sampled_from([4, 6]),
    payload=st.one_of(st.just(0), st.integers(0, 65_535)),
    tcp=st.booleans(),
    compress=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_reply_is_never_empty_where_a_record_fits_and_says_when_it_was_cut(
    qtype: str, count: int, version: int, payload: int, tcp: bool, compress: bool, seed: int
) -> None:
    question, rng = asked(qtype, payload), random.Random(seed)
    settings_ = rules(enable_truncate=True, disable_compression=not compress)
    facts = Facts({WEB: instances(version)[:count]})
    outline = answers.answer(question, settings_, facts, rng)
    packet = sizes.write(outline, question, settings_, tcp=tcp, rng=rng, now_s=0)
    message = dns.message.from_wire(packet, one_rr_per_rrset=True)
    if not count:
        assert message.rcode() == dns.rcode.NXDOMAIN
        return
    assert message.rcode() == dns.rcode.NOERROR
    has_records = qtype in {"SRV", "ANY"} or qtype == {4: "A", 6: "AAAA"}[version]
    if not has_records:
        assert not message.answer
        assert message.authority
        return
    given_out = len(message.answer)
    assert 1 <= given_out <= count
    limit = 65_535 if tcp else max(512, payload)
    assert len(packet) <= limit
    assert bool(message.flags & dns.flags.TC) is (given_out < count)
    assert len({rrset[0].to_text() for rrset in message.answer}) == given_out
    if payload:
        assert message.payload == payload


def chi_square(counts: collections.Counter[str], shares: dict[str, float], drawn: int) -> float:
    return sum(
        (counts[key] - drawn * share) ** 2 / (drawn * share) for key, share in shares.items()
    )


#: Chi-square that chance exceeds once in ten thousand times, for 19 degrees of freedom.
RARE_19 = 50.8


@pytest.mark.parametrize("qtype", ["A", "SRV"])
def test_every_instance_stands_at_every_place_equally_often(qtype: str) -> None:
    """Through ready answers, which are served many times and drawn anew one by one."""
    question, rng, settings_ = asked(qtype, 4096), random.Random(17), rules()
    outline = answers.answer(question, settings_, Facts({WEB: instances(4)[:20]}), rng)
    orders = sizes.Orders(outline, question, settings_, tcp=False, rng=rng)
    ticks = itertools.count()
    ready = ReadyAnswer(orders, timed=False, queries=(), clock=lambda: next(ticks) / 10)
    packets = [ready.next() for _ in range(803)]
    assert len(set(packets)) > 200, "orders are drawn anew"
    places: list[collections.Counter[str]] = [collections.Counter() for _ in range(3)]
    for packet in packets:
        # Only what is looked at is read: the question and three answers.
        front = b"\0\0" + packet[:2] + b"\0\1\0\3\0\0\0\0" + packet[10:]
        message = dns.message.from_wire(front, one_rr_per_rrset=True, ignore_trailing=True)
        for place, counts in enumerate(places):
            counts[message.answer[place][0].to_text()] += 1
    for counts in places:
        assert len(counts) == 20
        assert chi_square(counts, dict.fromkeys(counts, 1 / 20), len(packets)) < RARE_19


def test_weights_decide_who_stands_in_front_where_they_are_asked_for() -> None:
    weights = [0, 1, 2, 3, 4, 10]
    entries = tuple(entry(n, f"10.0.0.{n}", weight) for n, weight in enumerate(weights))
    question, rng = asked("A", 4096), random.Random(23)
    settings_ = rules(weighted_order=True)
    outline = answers.answer(question, settings_, Facts({WEB: entries}), rng)
    counts: collections.Counter[str] = collections.Counter()
    drawn = 1500
    for _ in range(drawn):
        packet = sizes.write(outline, question, settings_, tcp=False, rng=rng, now_s=0)
        message = dns.message.from_wire(packet, one_rr_per_rrset=True)
        assert message.answer[-1][0].to_text() == "10.0.0.0", "no weight, no turn"
        counts[message.answer[0][0].to_text()] += 1
    shares = {f"10.0.0.{n}": w / sum(weights) for n, w in enumerate(weights) if w}
    assert chi_square(counts, shares, drawn) < 23.5, "4 degrees of freedom, one in ten thousand"


def test_instances_at_one_address_weigh_together() -> None:
    entries = (entry(1, "10.0.0.1", 3), entry(2, "10.0.0.1", 4), entry(3, "10.0.0.2", 1))
    outline = answers.answer(asked("A", 0), rules(), Facts({WEB: entries}), random.Random(1))
    assert sorted(item.weight for item in outline.items) == [1, 7]


def test_a_part_of_a_huge_service_is_a_cut_reply_though_all_of_the_part_fits() -> None:
    question, rng, settings_ = asked("A", 4096), random.Random(1), rules(enable_truncate=True)
    whole = answers.answer(question, settings_, Facts({WEB: instances(4)[:3]}), rng)
    for outline, is_cut in ((whole, False), (replace(whole, partial=True), True)):
        packet = sizes.write(outline, question, settings_, tcp=False, rng=rng, now_s=0)
        assert bool(dns.message.from_wire(packet).flags & dns.flags.TC) is is_cut
    huge = answers.answer(question, settings_, Facts({WEB: instances(4)}), rng, tcp=False)
    assert huge.partial
