"""What is answered, in which order, and that a ready listing is never a stale one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dns import health
from raftstore.commands import Deregister, Register
from raftstore.dns_queries import HealthSample
from raftstore.queries import ChecksInState, HealthService, ListNodes, ListServices, NodeServices
from raftstore.records import Check, Node, Service
from raftstore.state import StateMachine


@pytest.fixture
def state() -> StateMachine:
    state = StateMachine()
    for index, (node, id) in enumerate((("m", "b"), ("k", "z"), ("m", "a")), start=2):
        service = Service(id=id, name="web", tags=(id,))
        checks = (Check(id=f"{id}2", service_id=id), Check(id=f"{id}1", service_id=id))
        where = Node(name=node, address="a")
        state.apply(index, 0.0, Register(node=where, service=service, checks=checks))
    return state


def test_answers_have_a_fixed_order(state):
    assert [node.name for node in state.answer(ListNodes()).value] == ["k", "m"]
    health = state.answer(HealthService(service="web")).value
    assert [entry.service.id for entry in health] == ["z", "a", "b"]
    assert [check.id for check in health[0].checks] == ["z1", "z2"]
    assert [s.id for s in state.answer(NodeServices("M")).value.services] == ["a", "b"]
    any_state = state.answer(ChecksInState("any")).value
    assert [check.id for check in any_state] == ["z1", "z2", "a1", "a2", "b1", "b2"]
    assert state.answer(ChecksInState("critical")).value == any_state


def test_the_listing_is_kept_until_a_service_changes(state):
    first = state.answer(ListServices()).value
    assert first == {"web": ("a", "b", "z")}
    state.apply(10, 0.0, Register(node=Node(name="new", address="a")))
    assert state.answer(ListServices()).value is first
    state.apply(11, 0.0, Deregister(node="m", service_id="a"))
    assert state.answer(ListServices()).value == {"web": ("b", "z")}


def test_an_answer_does_not_change_in_the_hands_of_its_reader(state):
    before = state.answer(ListServices()).value
    copy = dict(before)
    state.apply(10, 0.0, Deregister(node="m"))
    assert before == copy


@given(
    st.lists(
        st.tuples(st.sampled_from(["passing", "warning", "critical"]), st.sampled_from(["x", "y"])),
        max_size=12,
    ),
    st.booleans(),
    st.sampled_from(["", "X"]),
    st.integers(1, 14),
    st.integers(0, 2**32),
)
def test_a_sample_is_a_part_of_what_may_be_given_out(
    instances: list[tuple[str, str]], only_passing: bool, tag: str, most: int, seed: int
) -> None:
    state = StateMachine()
    for number, (status, own) in enumerate(instances):
        node = Node(name=f"n{number}", address="a")
        check = Check(id="c", status=status) if number % 2 else Check(
            id="c", service_id="web", status=status)  # fmt: skip
        service = Service(id="web", name="web", tags=(own,))
        state.apply(number + 2, 0.0, Register(node=node, service=service, checks=(check,)))
    tags = (tag,) if tag else ()
    asked = HealthSample(service="WEB", tags=tags, only_passing=only_passing, most=most, seed=seed)
    found, all_of_them = state.answer(asked).value, state.answer(asked.whole).value
    fit = health.fit(all_of_them, only_passing=only_passing)
    drawn = [entry.node.name for entry in found.entries]
    assert len(set(drawn)) == len(drawn) == min(most, len(fit))
    assert all(entry in fit for entry in found.entries)
    assert found.partial or len(drawn) == len(fit)
    assert not (found.partial and most > len(instances))
    assert state.answer(asked) == state.answer(asked), "drawn by the seed alone"


def test_each_is_as_likely_as_any_other() -> None:
    state = StateMachine()
    for number in range(10):
        node = Node(name=f"n{number}", address="a")
        state.apply(number + 2, 0.0, Register(node=node, service=Service(id="w", name="w")))
    counts: Counter[str] = Counter()
    for seed in range(4000):
        sample = state.answer(HealthSample(service="w", most=3, seed=seed)).value
        counts.update(entry.node.name for entry in sample.entries)
    assert sum(counts.values()) == 12000 and len(counts) == 10
    assert sum((count - 1200) ** 2 / 1200 for count in counts.values()) < 33.7, "9 degrees, 1e-4"
