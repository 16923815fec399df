"""The plan makes the catalog agree with the host, and then has nothing more to say."""

from __future__ import annotations

import random
from dataclasses import replace
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.definitions import CheckDefinition
from agent.local import antientropy
from agent.local.antientropy import (
    AdoptTags,
    FullSyncClock,
    RemoveCheck,
    RemoveService,
    SyncCheck,
    SyncNode,
    SyncService,
    command,
    mark_done,
    note,
    pending,
    plan,
    scale_factor,
)
from agent.local.services import LocalCheck, LocalService, LocalState
from raftstore.commands import Applied, Register
from raftstore.queries import NodeChecks, NodeServices
from raftstore.records import SERF_HEALTH, Check, CheckId, Service, ServiceId, ServiceName
from raftstore.slices import at_once
from tests.agent.local.parts import (
    HOST,
    NODE,
    Catalog,
    check_ids,
    check_records,
    local_state,
    local_states,
    service_ids,
    service_records,
)

CHECKS = settings(max_examples=60, deadline=None)


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """A catalog in which anything may stand about the host, or nothing."""
    catalog = Catalog()
    if not draw(st.booleans()):
        return catalog
    node = draw(st.sampled_from([NODE, replace(NODE, address="9.9.9.9", meta=None)]))
    catalog.register(Register(node=node))
    for service in draw(st.lists(service_records(service_ids), max_size=4)):
        catalog.register(Register(node=node, service=service))
    owners = st.sampled_from(["", *catalog.services()])
    ids = check_ids | st.just(SERF_HEALTH)
    for check in draw(st.lists(check_records(ids, owners), max_size=5)):
        catalog.register(Register(node=node, checks=(check,)))
    return catalog


def look(catalog: Catalog, local: LocalState):
    services = catalog.machine.answer(NodeServices(HOST)).value
    checks = catalog.machine.answer(NodeChecks(HOST)).value
    return at_once(plan(local, NODE, services, checks))


def carry_out(catalog: Catalog, local: LocalState, actions) -> None:
    for action in actions:
        change = command(action, NODE, node_in_sync=local.node_in_sync)
        if change is not None:
            outcome = catalog.apply(change)
            assert isinstance(outcome, Applied), outcome
            mark_done(local, action)
    local.check_invariants()


@CHECKS
@given(local_states(), catalogs())
def test_the_plan_converges(local: LocalState, catalog: Catalog) -> None:
    theirs = (catalog.services().get("consul"), catalog.checks().get(SERF_HEALTH))
    note(local, look(catalog, local))
    local.check_invariants()
    carry_out(catalog, local, at_once(pending(local, NODE)))
    assert look(catalog, local) == ()
    assert local.in_sync
    assert at_once(pending(local, NODE)) == ()
    left = (catalog.services().get("consul"), catalog.checks().get(SERF_HEALTH))
    if not (theirs[1] and theirs[1].service_id not in {"", "consul"}):
        assert left == theirs  # what the leader owns is never touched
    assert catalog.services().keys() - {"consul"} == local.services.keys() - {"consul"}
    assert catalog.checks().keys() - {SERF_HEALTH} == local.checks.keys()


changes = st.lists(
    st.one_of(
        st.tuples(
            st.just("register"), service_records(service_ids.filter(lambda i: i != "consul"))
        ),
        st.tuples(st.just("deregister"), st.sampled_from(["a", "b", "c"])),
        st.tuples(st.just("check"), check_records(check_ids, st.sampled_from(["", "a", "b", "c"]))),
        st.tuples(st.just("uncheck"), check_ids),
        st.tuples(st.just("status"), check_ids, st.sampled_from(["passing", "critical"])),
        st.tuples(st.just("sync")),
    ),
    max_size=25,
)


def take(local: LocalState, step, now: float) -> None:
    match step:
        case ("register", record):
            local.register(LocalService(record=record))
        case ("deregister", service_id):
            local.deregister(ServiceId(service_id))
        case ("check", record) if not record.service_id or record.service_id in local.services:
            local.put_check(LocalCheck(record=record, definition=CheckDefinition()), now)
        case ("uncheck", check_id):
            local.remove_check(check_id)
        case ("status", check_id, status):
            local.update_check(check_id, status, "o", now)


@CHECKS
@given(changes)
def test_telling_only_what_changed_gives_the_same_as_comparing(steps) -> None:
    local, catalog, now = local_state(update_interval_s=0.0), Catalog(), 0.0
    for step in [*steps, ("sync",)]:
        now += 1.0
        if step == ("sync",):
            carry_out(catalog, local, at_once(pending(local, NODE)))
        take(local, step, now)
        local.check_invariants()
    differences = [a for a in look(catalog, local) if not isinstance(a, AdoptTags)]
    assert differences == []


@CHECKS
@given(local_states(), catalogs(), changes, st.booleans())
def test_what_changes_during_a_comparison_is_told_too(local, catalog, steps, broken_off) -> None:
    services = catalog.machine.answer(NodeServices(HOST)).value
    checks = catalog.machine.answer(NodeChecks(HOST)).value
    left = iter(steps)
    with mock.patch.object(antientropy, "COMPARED_AT_ONCE", 1):
        before = local.begin_comparison()
        comparing = plan(local, NODE, services, checks)
        try:
            while True:
                next(comparing)
                take(local, next(left, ("sync",)), 0.0)
        except StopIteration as end:
            actions = end.value
    if broken_off:
        local.abandon_comparison(before)
    else:
        note(local, actions)
    local.check_invariants()
    carry_out(catalog, local, at_once(pending(local, NODE)))
    if not broken_off:
        # Tags that others set may have come with a service that changed meanwhile.
        again = [a for a in look(catalog, local) if not isinstance(a, AdoptTags)]
        assert again == []


def test_a_service_and_its_checks_with_the_same_token_are_one_write() -> None:
    local = local_state()
    web = Service(node=HOST, id=ServiceId("web"), name=ServiceName("web"))
    local.register(LocalService(record=web, token="t"))
    for check_id, token in (("same", "t"), ("other", "u")):
        record = Check(node=HOST, id=CheckId(check_id), service_id=web.id)
        local.put_check(LocalCheck(record=record, definition=CheckDefinition(), token=token), 0.0)
    node, service, check = at_once(pending(local, NODE))
    assert node == SyncNode(NODE)
    assert isinstance(service, SyncService) and [c.id for c in service.checks] == ["same"]
    assert isinstance(check, SyncCheck) and check.check.id == "other"


def test_the_catalogs_tags_are_taken_where_the_service_allows_it() -> None:
    local, catalog = local_state(), Catalog()
    record = Service(
        node=HOST, id=ServiceId("w"), name=ServiceName("w"), tags=("a",), enable_tag_override=True
    )
    local.register(LocalService(record=record))
    catalog.register(Register(node=NODE, service=replace(record, tags=("b",))))
    actions = look(catalog, local)
    assert actions == (AdoptTags(record.id, ("b",)),)
    note(local, actions)
    assert local.services[record.id].record.tags == ("b",)
    assert look(catalog, local) == ()


def test_foreign_entries_are_removed_but_never_the_leaders() -> None:
    catalog, local = Catalog(), local_state()
    for name in ("consul", "ghost"):
        service = Service(id=ServiceId(name), name=ServiceName(name))
        catalog.register(Register(node=NODE, service=service))
    own = Check(id=CheckId("of ghost"), service_id=ServiceId("ghost"))
    catalog.register(Register(node=NODE, checks=(own,)))  # goes with its service
    for check_id in (SERF_HEALTH, CheckId("stray")):
        catalog.register(Register(node=NODE, checks=(Check(id=check_id),)))
    assert look(catalog, local) == (
        RemoveService(ServiceId("ghost")),
        RemoveCheck(CheckId("stray")),
    )


def test_output_that_is_held_back_is_no_difference() -> None:
    local, catalog = local_state(update_interval_s=300.0), Catalog()
    record = Check(node=HOST, id=CheckId("c"), status="passing", output="old")
    local.put_check(LocalCheck(record=record, definition=CheckDefinition()), 0.0)
    carry_out(catalog, local, at_once(pending(local, NODE)))
    local.update_check(CheckId("c"), "passing", "new", 1.0)
    assert look(catalog, local) == ()
    assert at_once(pending(local, NODE)) == ()
    assert local.deadline is not None and 151.0 <= local.deadline < 451.0
    assert local.release_held(local.deadline)
    (action,) = at_once(pending(local, NODE))
    assert isinstance(action, SyncCheck) and action.check.output == "new"


def test_a_change_during_a_write_stays_to_be_told() -> None:
    local = local_state()
    first = Service(node=HOST, id=ServiceId("w"), name=ServiceName("w"), port=1)
    local.register(LocalService(record=first))
    actions = at_once(pending(local, NODE))
    local.register(LocalService(record=replace(first, port=2)))
    for action in actions:
        mark_done(local, action)
    (again,) = at_once(pending(local, NODE))
    assert isinstance(again, SyncService) and again.service.port == 2


@pytest.mark.parametrize(
    ("members", "factor"),
    [(1, 1), (128, 1), (129, 2), (256, 2), (512, 3), (1024, 4), (8192, 7)],
)
def test_intervals_grow_with_the_cluster(members: int, factor: int) -> None:
    assert scale_factor(members) == factor


@given(st.integers(0, 1000), st.integers(1, 5000))
def test_full_syncs_come_within_their_bounds(seed: int, members: int) -> None:
    factor = scale_factor(members)
    clock = FullSyncClock(random.Random(seed), now=100.0)
    assert clock.deadline == 100.0  # at once at the start
    clock.succeeded(100.0, members)
    assert 160.0 <= clock.deadline < 160.0 + 60.0 * factor
    clock.failed(110.0, members)
    assert clock.deadline <= 110.0 + 15.0 + 15.0 * factor
    clock.server_appeared(120.0, members)
    assert clock.deadline < 120.0 + 3.0 * factor
    clock.trigger(121.0)
    assert clock.deadline <= 121.0
    clock.failed(130.0, members)
    assert 145.0 <= clock.deadline < 145.0 + 15.0 * factor
