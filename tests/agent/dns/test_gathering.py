"""What is put together of parts is what would be said of all at once."""

from __future__ import annotations

import collections
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config.schema import AgentConfig
from agent.dns import answers
from agent.dns.facts import Facts, Missing
from agent.dns.gathering import Gathering
from agent.dns.outline import STEP_INSTANCES, Outline
from agent.dns.rules import rules_of
from raftstore.dns_queries import HealthSample, Sample
from raftstore.queries import HealthEntry, HealthService
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from tests.agent.dns.test_answers import asked, chi_square, instances

RULES = rules_of(AgentConfig(node_name="x"))
WEB = HealthService(service=ServiceName("web"))
PART = HealthSample(service=ServiceName("web"), most=STEP_INSTANCES, seed=1)


def entry(number: int, address: str) -> HealthEntry:
    node = Node(name=NodeName(f"node-{number // 2}"), address=f"10.0.0.{number // 2 + 1}")
    service = Service(
        node=node.name, id=ServiceId(f"w{number}"), name=ServiceName("web"), port=80,
        address=address,
    )  # fmt: skip
    return HealthEntry(node, service, ())


def gathered(
    entries: list[HealthEntry], qtype: str, *, most: int, step: int, seed: int
) -> tuple[Outline, list[int]]:
    """The outline of all parts of ``step`` instances, and where the parts began."""
    question, rng = asked(qtype, 4096), random.Random(seed)
    gathering = Gathering(PART, len(entries), most=most, qtype=question.qtype, rng=rng, step=step)
    begun = []
    while (part := gathering.next_part()) is not None:
        begun.append(part.start)
        held = Sample(tuple(entries[part.start : part.stop]), partial=False)
        facts = Facts({WEB: gathering.wanted(held).entries})
        gathering.add(answers.answer(question, RULES, facts, rng))
    return gathering.outline(), begun


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["", "10.9.0.1", "10.9.0.2", "2001:db8::1", "host.example", "h2.example"]),
        min_size=1,
        max_size=24,
    ),
    st.sampled_from(["A", "AAAA", "ANY", "SRV", "TXT"]),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_parts_together_are_the_whole(
    addresses: list[str], qtype: str, step: int, seed: int
) -> None:
    entries = [entry(number, address) for number, address in enumerate(addresses)]
    found, begun = gathered(entries, qtype, most=len(entries), step=step, seed=seed)
    assert len(set(begun)) == len(begun) == -(-len(entries) // step), "each part once"
    facts = Facts({WEB: tuple(entries)})
    whole = answers.answer(asked(qtype, 4096), RULES, facts, random.Random(seed))
    assert (found.rcode, found.soa_at, found.one_of) == (whole.rcode, whole.soa_at, whole.one_of)
    told = [sorted(map(repr, outline.items)) for outline in (found, whole)]
    if whole.one_of:  # one of them is given: how often each is there says how likely it is
        told = [sorted(set(each)) for each in told]
    assert told[0] == told[1]
    assert not found.partial


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 9), st.integers(0, 99))
def test_it_ends_with_as_many_as_are_wanted_and_says_whether_there_are_others(
    count: int, most: int, step: int, seed: int
) -> None:
    entries = [entry(number, f"10.9.1.{number}") for number in range(count)]
    found, _ = gathered(entries, "A", most=most, step=step, seed=seed)
    assert len(found.items) == min(count, most)
    assert found.partial is (count > most)


def test_each_is_as_likely_as_any_other() -> None:
    counts: collections.Counter[str] = collections.Counter()
    drawn, dice = 600, random.Random(5)
    for seed in range(drawn):
        # What is drawn of a part comes in no order.
        entries = [entry(n, f"10.9.1.{n}") for n in range(24)]
        for start in range(0, 24, 8):
            part = entries[start : start + 8]
            dice.shuffle(part)
            entries[start : start + 8] = part
        found, _ = gathered(entries, "A", most=5, step=9, seed=seed)
        counts.update(str(item.records[0].tail) for item in found.items)
    shares = dict.fromkeys(counts, 1 / 24)
    assert len(counts) == 24
    assert chi_square(counts, shares, drawn * 5) < 57.0, "23 degrees of freedom, 1e-4"


def test_a_large_service_is_looked_at_in_parts() -> None:
    facts = Facts({})
    question = asked("A", 0)
    try:
        answers.answer(question, RULES, facts, random.Random(1), tcp=True, seed=7)
    except Missing as missing:
        query = missing.query
    assert isinstance(query, HealthSample) and query.most == STEP_INSTANCES
    first = Sample(instances(4)[:STEP_INSTANCES], partial=True, total=5000)
    outline = answers.answer(
        question, RULES, Facts({query: first}), random.Random(1), tcp=True, seed=7
    )
    assert outline.wanting == 4096
