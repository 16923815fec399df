"""Transitions of local state: what gets out of step, what waits, what is gone."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.definitions import CheckDefinition
from agent.local.services import LocalCheck, LocalService
from raftstore.records import Check, CheckId, Service, ServiceId, ServiceName
from tests.agent.local.parts import HOST, local_state

WEB = Service(node=HOST, id=ServiceId("web"), name=ServiceName("web"), tags=("a",))
C = CheckId("c")


def check(after_s: float = 0.0, **fields) -> LocalCheck:
    return LocalCheck(
        record=Check(**{"node": HOST, "id": C, **fields}),
        definition=CheckDefinition(deregister_critical_service_after_s=after_s),
    )


def synced(state) -> None:
    for service in list(state.services.values()):
        state.mark_service_synced(service.record)
    for one in list(state.checks.values()):
        state.mark_check_synced(one.record)
    state.node_in_sync = True
    assert state.in_sync


def test_registering_the_same_again_changes_nothing() -> None:
    state = local_state()
    assert state.register(LocalService(record=WEB))
    synced(state)
    assert not state.register(LocalService(record=WEB))
    assert state.in_sync


def test_checks_go_with_their_service() -> None:
    state = local_state()
    state.register(LocalService(record=WEB))
    state.put_check(check(service_id=WEB.id), 0.0)
    synced(state)
    assert state.deregister(WEB.id) == (C,)
    assert not state.checks and list(state.gone_services) == [WEB.id] and not state.gone_checks
    assert state.deregister(WEB.id) is None


def test_a_service_that_comes_back_at_once_still_loses_its_former_checks() -> None:
    state = local_state()
    state.register(LocalService(record=WEB))
    state.put_check(check(service_id=WEB.id), 0.0)
    state.deregister(WEB.id)
    state.register(LocalService(record=WEB))
    assert list(state.gone_checks) == [C] and not state.gone_services


def test_checks_show_the_tags_of_their_service() -> None:
    state = local_state()
    state.register(LocalService(record=WEB))
    state.put_check(check(service_id=WEB.id), 0.0)
    state.register(LocalService(record=replace(WEB, tags=("b",))))
    assert state.checks[C].record.service_tags == ("b",)


def test_a_status_change_never_waits_and_takes_the_output_along() -> None:
    state = local_state(update_interval_s=300.0)
    state.put_check(check(status="passing"), 0.0)
    synced(state)
    assert state.update_check(C, "passing", "new", 1.0)
    assert state.in_sync and state.is_held(C)
    assert state.update_check(C, "critical", "newer", 2.0)
    assert not state.in_sync and not state.is_held(C)
    state.mark_check_synced(state.checks[C].record)
    assert state.in_sync and state.deadline is None


def test_without_an_update_interval_output_does_not_wait() -> None:
    state = local_state(update_interval_s=0.0)
    state.put_check(check(status="passing"), 0.0)
    synced(state)
    state.update_check(C, "passing", "new", 1.0)
    assert not state.in_sync


def test_an_unchanged_result_is_no_change() -> None:
    state = local_state()
    state.put_check(check(status="passing", output="o"), 0.0)
    synced(state)
    assert not state.update_check(C, "passing", "o", 1.0)
    assert state.in_sync and state.deadline is None


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=30))
def test_held_output_is_released_once_and_not_before_half_the_interval(times) -> None:
    state = local_state(update_interval_s=100.0)
    state.put_check(check(status="passing"), 0.0)
    synced(state)
    held_since = None
    for number, now in enumerate(sorted(times)):
        if state.release_held(now):
            assert held_since is not None and now >= held_since + 50.0
            state.mark_check_synced(state.checks[C].record)
            held_since = None
        state.update_check(C, "passing", f"output {number}", now)
        held_since = now if held_since is None else held_since
        assert state.deadline is not None and state.deadline < held_since + 150.0
        state.check_invariants()


def test_a_service_is_dead_after_its_check_was_critical_for_longer_than_allowed() -> None:
    state = local_state()
    state.register(LocalService(record=WEB))
    state.put_check(check(60.0, service_id=WEB.id, status="critical"), 100.0)
    assert state.dead_services(160.0) == ()
    assert state.dead_services(160.1) == ((WEB.id, C),)
    state.update_check(C, "passing", "", 161.0)
    assert state.dead_services(1000.0) == ()
    state.update_check(C, "critical", "", 1000.0)
    state.update_check(C, "critical", "still", 1030.0)
    assert state.dead_services(1061.0) == ((WEB.id, C),)


def test_a_check_of_the_node_removes_nothing() -> None:
    state = local_state()
    state.put_check(check(60.0, status="critical"), 0.0)
    assert state.dead_services(1e9) == ()
