"""Who lives at an address: found without a walk, told of every change, and nothing is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.commands import Applied, Deregister, Register
from raftstore.dns_queries import AddressHolder, WhoHasAddress, canonical_address
from raftstore.records import Node, NodeName, Service, ServiceId, ServiceName
from raftstore.state import StateMachine
from tests.strategies import scaled

ADDRESSES = ["10.0.0.1", "10.0.0.2", "2001:db8::1", "host.example", ""]
ASKED = ["10.0.0.1", "10.0.0.2", "2001:db8::1", "10.9.9.9"]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("host.example", ""),
        ("", ""),
    ],
)
def test_an_address_has_one_form(text: str, canonical: str) -> None:
    assert canonical_address(text) == canonical


def node(name: str, address: str) -> Node:
    return Node(name=NodeName(name), address=address)


def service(owner: str, id: str, address: str) -> Service:
    return Service(
        node=NodeName(owner), id=ServiceId(id), name=ServiceName(f"s-{id}"), address=address
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("register"),
            st.sampled_from(["n1", "N1", "n2"]),
            st.sampled_from(ADDRESSES[:4]),
            st.sampled_from([None, "a", "b"]),
            st.sampled_from(ADDRESSES),
        ),
        st.tuples(
            st.just("deregister"),
            st.sampled_from(["n1", "n2"]),
            st.just(""),
            st.sampled_from([None, "a", "b"]),
            st.just(""),
        ),
    ),
    max_size=20,
)


def scanned(state: StateMachine, address: str) -> AddressHolder:
    """The same by a walk over everything."""
    rows = [state.registry.nodes[key] for key in sorted(state.registry.nodes)]
    nodes = [row.node for row in rows if canonical_address(row.node.address) == address]
    instances = [
        row.services[service_id]
        for row in rows
        for service_id in sorted(row.services)
        if canonical_address(row.services[service_id].address) == address
    ]
    return AddressHolder(nodes[0] if nodes else None, instances[0] if instances else None)


@settings(max_examples=scaled(150), deadline=None)
@given(STEPS)
def test_it_is_what_a_walk_finds_and_every_change_is_told(steps: list[tuple[str, ...]]) -> None:
    state = StateMachine()
    for number, (kind, name, address, service_id, own) in enumerate(steps, 1):
        before = {asked: state.answer(WhoHasAddress(asked)) for asked in ASKED}
        if kind == "register":
            held = service(name, service_id, own) if service_id else None
            outcome = state.apply(number, 0.0, Register(node=node(name, address), service=held))
        else:
            outcome = state.apply(
                number,
                0.0,
                Deregister(node=NodeName(name), service_id=ServiceId(service_id or "")),
            )
        assert isinstance(outcome, Applied)
        touched = state.touched()
        state.check()
        for asked in ASKED:
            now = state.answer(WhoHasAddress(asked))
            assert now.value == scanned(state, asked)
            if now.value != before[asked].value:
                assert set(WhoHasAddress(asked).footprint()) <= touched
                assert now.index > before[asked].index or now.index == number
    copy = StateMachine()
    copy.restore(state.snapshot())
    copy.check()
    for asked in ASKED:
        assert copy.answer(WhoHasAddress(asked)) == state.answer(WhoHasAddress(asked))
    assert not any(table == "address" for table, _ in copy.touched())
