"""The authority's state: compare-and-set, one active root, serials."""

from __future__ import annotations

import dataclasses

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.commands import SERIALS_MAX, Applied, NextSerial, Rejected, SetCA, SetCAConfig
from raftstore.queries import Answer, GetCAConfig, GetCAProvider, GetCARoots
from raftstore.records import CAConfig, CAProviderState, CARoot
from raftstore.signing_requests import GetSigningRequest, OpenSigningRequest
from raftstore.state import StateMachine

CONFIG = CAConfig(cluster_id="u1", config={"LeafCertTTL": "72h"})
PROVIDER = CAProviderState(root_id="r1", private_key="key", root_cert="pem")


def root(name: str, *, active: bool = True) -> CARoot:
    return CARoot(
        id=name,
        name="root",
        serial_number=1,
        signing_key_id="k",
        external_trust_domain="u1.consul",
        not_before="",
        not_after="",
        root_cert="pem",
        active=active,
    )


def set_ca(*roots: CARoot, cas: int = 0, config: CAConfig = CONFIG) -> SetCA:
    return SetCA(cas=cas, config=config, roots=roots, provider=PROVIDER)


@pytest.fixture
def state() -> StateMachine:
    return StateMachine()


def test_the_trust_domain_is_empty_before_the_authority_is_set_up(state):
    assert state.answer(GetCARoots()).value.trust_domain == ""
    assert state.answer(GetCAConfig()).value is None
    assert state.answer(GetCAProvider()).value is None


def test_setting_up_stores_roots_configuration_and_key_at_one_index(state):
    assert state.apply(5, 0.0, set_ca(root("r1"))) == Applied(5, True)
    roots = state.answer(GetCARoots())
    assert (roots.index, roots.value.trust_domain) == (5, "u1.consul")
    assert (roots.value.roots[0].create_index, roots.value.roots[0].modify_index) == (5, 5)
    assert state.answer(GetCAConfig()).value.modify_index == 5
    assert state.answer(GetCAProvider()).value == PROVIDER
    assert state.touched() == {("ca-roots", ""), ("ca-config", ""), ("history", "")}


def test_only_the_first_of_two_that_saw_no_roots_wins(state):
    state.apply(5, 0.0, set_ca(root("r1")))
    assert state.apply(6, 0.0, set_ca(root("r2"))) == Applied(6, False)
    assert [r.id for r in state.answer(GetCARoots()).value.roots] == ["r1"]


def test_a_rotation_keeps_what_did_not_change(state):
    state.apply(5, 0.0, set_ca(root("r1"), root("r0", active=False)))
    rotated = set_ca(root("r2"), root("r1", active=False), root("r0", active=False), cas=5)
    assert state.apply(9, 0.0, rotated) == Applied(9, True)
    stored = state.answer(GetCARoots()).value.roots
    assert [(r.id, r.create_index, r.modify_index) for r in stored] == [
        ("r2", 9, 9),
        ("r1", 5, 9),
        ("r0", 5, 5),
    ]
    assert state.answer(GetCAConfig()).index == 5


@pytest.mark.parametrize(
    "roots",
    [
        (),
        (root("r1", active=False),),
        (root("r1"), root("r2")),
        (root("r1"), root("r1", active=False)),
    ],
)
def test_exactly_one_root_is_active_and_none_is_listed_twice(state, roots):
    assert isinstance(state.apply(5, 0.0, set_ca(*roots)), Rejected)
    assert state.touched() == frozenset()


def test_the_configuration_is_compared_and_set(state):
    state.apply(5, 0.0, set_ca(root("r1")))
    changed = dataclasses.replace(CONFIG, config={"LeafCertTTL": "1h"})
    assert state.apply(6, 0.0, SetCAConfig(cas=4, config=changed)) == Applied(6, False)
    assert state.apply(7, 0.0, SetCAConfig(cas=5, config=changed)) == Applied(7, True)
    stored = state.answer(GetCAConfig()).value
    assert (stored.config, stored.create_index, stored.modify_index) == (changed.config, 5, 7)
    assert state.answer(GetCARoots()).index == 5


def test_a_new_trust_domain_moves_the_roots(state):
    state.apply(5, 0.0, set_ca(root("r1")))
    state.touched()
    changed = dataclasses.replace(CONFIG, cluster_id="u2")
    state.apply(6, 0.0, SetCAConfig(cas=5, config=changed))
    assert state.answer(GetCARoots()).index == 6
    assert ("ca-roots", "") in state.touched()


def test_a_configuration_written_first_does_not_stand_in_the_way_of_the_first_roots(state):
    state.apply(4, 0.0, SetCAConfig(cas=0, config=CONFIG))
    assert state.apply(5, 0.0, set_ca(root("r1"))) == Applied(5, True)


def test_a_serial_is_given_once(state):
    assert [state.apply(index, 0.0, NextSerial()).value for index in (3, 4, 9)] == [1, 2, 3]
    assert state.touched() == {("history", "")}


@given(st.lists(st.integers(-1, SERIALS_MAX + 1), max_size=20))
def test_serials_taken_in_a_row_are_of_nobody_else(counts):
    state, given_out = StateMachine(), []
    for index, count in enumerate(counts, 1):
        outcome = state.apply(index, 0.0, NextSerial(count=count))
        if isinstance(outcome, Applied):
            given_out += range(outcome.value, outcome.value + count)
        else:
            assert not 1 <= count <= SERIALS_MAX
    assert given_out == list(range(1, len(given_out) + 1))


def test_the_key_of_a_signing_request_waits_until_it_signs(state):
    assert state.apply(5, 0.0, set_ca(root("r1"))) == Applied(5, True)
    assert isinstance(state.apply(6, 0.0, OpenSigningRequest("")), Rejected)
    state.apply(7, 0.0, OpenSigningRequest("other"))
    state.apply(8, 0.0, OpenSigningRequest("waits"))
    again = StateMachine()
    again.restore(state.snapshot())
    for each in (state, again):
        assert each.answer(GetSigningRequest()) == Answer(8, "waits")
        cas = each.answer(GetCARoots()).index
        signer = dataclasses.replace(PROVIDER, signing_chain="chain")
        command = dataclasses.replace(set_ca(root("r1"), cas=cas), provider=signer)
        each.apply(9, 0.0, command)
        assert each.answer(GetSigningRequest()).value == "waits", "another key signs"
        waited = dataclasses.replace(signer, private_key="waits")
        cas = each.answer(GetCARoots()).index
        each.apply(10, 0.0, dataclasses.replace(command, cas=cas, provider=waited))
        assert each.answer(GetCAProvider()).value == waited
        assert each.answer(GetSigningRequest()).value == ""


def test_no_key_that_waits_reaches_the_journal(state):
    state.apply(5, 0.0, OpenSigningRequest("a-secret-key"))
    assert b"a-secret-key" not in b"".join(
        msgpack.packb(chunk) for chunk in state.snapshot() if "history" in chunk[0]
    )
