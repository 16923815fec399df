"""What is answered, in which order, and that a ready listing is never a stale one."""

from __future__ import annotations

import pytest

from raftstore.commands import Deregister, Register
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
