"""A removal through the catalog counts if it was asked for by itself, after the registration."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.local.revocation import (
    SKEW_MAX_S,
    missing,
    revoked_checks,
    revoked_services,
    still_unwanted,
)
from agent.local.services import LocalCheck, LocalService, LocalState
from raftstore.queries import Change
from raftstore.records import Actor, Check, CheckId, NodeName, Service, ServiceId, ServiceName
from tests.agent.local.parts import HOST, local_state, ttl

WEB = ServiceId("web")
SOMEBODY = Actor(address="10.0.0.9:4711", node="other")
AN_AGENT = Actor(node="other")
THERE = b"a record"


def state_with(*, told: bool = True, kept_at: float = 0.0, source: str = "remote") -> LocalState:
    state = local_state()
    record = Service(node=HOST, id=WEB, name=ServiceName("web"))
    state.register(LocalService(record=record, kept_at=kept_at, source=source))
    if told:
        state.mark_service_synced(record)
    return state


def removal(actor: Actor | None = SOMEBODY, **fields) -> Change:
    values = {"index": 7, "stamp": 100.0, "table": "services", "key": f"{HOST}/web"} | fields
    return Change(before=THERE, actor=actor, **values)


def revoked(state: LocalState, *changes: Change, of_node: tuple[Change, ...] = ()) -> tuple:
    lost = missing(state, (), ()).services
    return tuple(revoked_services(state, lost, changes, of_node, HOST))


def with_check(state: LocalState, *, told: bool = True, kept_at: float = 0.0) -> Check:
    record = Check(node=HOST, id=CheckId("c"), service_id=WEB)
    state.put_check(LocalCheck(record=record, definition=ttl("c"), kept_at=kept_at), 0.0)
    if told:
        state.mark_check_synced(record)
    return record


def revoked_check(state: LocalState, gone: Change, *of_owners: Change) -> tuple:
    lost = missing(state, (there(),), ()).checks
    return tuple(revoked_checks(state, lost, (gone,), of_owners, NodeName(HOST)))


def there() -> Service:
    return Service(node=HOST, id=WEB, name=ServiceName("web"))


def test_what_was_told_and_then_removed_by_a_request_is_revoked() -> None:
    assert revoked(state_with(), removal()) == (WEB,)


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (removal(AN_AGENT),),
        (removal(None),),
        (removal(), removal(after=THERE, index=8)),
        (removal(key="host2/web"),),
        (removal(key=f"{HOST}/db"),),
    ],
    ids=["unknown", "by an agent", "by nobody", "written since", "other node", "other service"],
)
def test_anything_else_is_written_again(changes: tuple[Change, ...]) -> None:
    assert revoked(state_with(), *changes) == ()


def test_a_removal_from_before_it_was_told_is_another_story() -> None:
    """As after another archive is restored: the journal tells of an earlier life of the service."""
    state = state_with()
    record = state.services[WEB].record
    state.mark_service_synced(record, 9)
    assert revoked(state, removal(index=9)) == ()
    assert revoked(state, removal(index=10)) == (WEB,)
    state.compared_index = 20
    assert revoked(state, removal(index=20)) == ()
    assert revoked(state, removal(index=21)) == (WEB,)


def test_a_node_that_is_removed_with_all_it_holds_takes_nothing_along_here() -> None:
    node = removal(table="nodes", key=HOST)
    assert revoked(state_with(), removal(), of_node=(node,)) == ()
    assert revoked(state_with(), removal(index=8), of_node=(node,)) == (WEB,)


def test_what_the_catalog_never_had_and_what_files_define_is_not_missing() -> None:
    assert not missing(state_with(told=False), (), ())
    assert not missing(state_with(source="local"), (), ())
    assert not missing(state_with(), (there(),), ())


def test_a_registration_from_disk_must_be_clearly_older_than_the_removal() -> None:
    older = state_with(told=False, kept_at=100.0 - SKEW_MAX_S)
    assert revoked(older, removal()) == (WEB,)
    about_as_old = state_with(told=False, kept_at=101.0 - SKEW_MAX_S)
    assert revoked(about_as_old, removal()) == ()


@pytest.mark.parametrize("changed", [False, True], ids=["unchanged", "changed"])
def test_what_is_registered_again_while_the_journal_is_asked_stays(changed: bool) -> None:
    state = state_with()
    with_check(state)
    found = missing(state, (), ())
    assert (*found.services, *found.checks) == (WEB, "c")
    # A result is no registration.
    state.update_check(CheckId("c"), "passing", "well", 0.0)
    assert still_unwanted(state, found) == found
    if changed:
        state.register(LocalService(record=replace(there(), port=80)))
        state.put_check(
            LocalCheck(record=state.checks[CheckId("c")].record, definition=ttl("c", ttl_s=9.0)),
            0.0,
        )
    else:
        state.renew(WEB, 1.0)
        state.renew_check(CheckId("c"), 1.0)
    assert not still_unwanted(state, found)
    state.deregister(WEB)
    assert not still_unwanted(state, found)


def test_one_that_was_asked_for_again_since_stays() -> None:
    state = state_with()
    state.renew(WEB, 99.0)
    assert revoked(state, removal()) == ()
    assert revoked(state, removal(stamp=200.0)) == (WEB,)


def test_a_check_is_revoked_unless_it_went_with_its_service_or_node() -> None:
    state = state_with()
    record = with_check(state, told=False)
    assert not missing(state, (there(),), ())
    state.mark_check_synced(record)
    gone = removal(table="checks", key=f"{HOST}/c")
    assert revoked_check(state, gone) == ("c",)
    assert revoked_check(state, gone, removal()) == ()
    assert revoked_check(state, gone, removal(table="nodes", key=HOST)) == ()


def test_a_check_from_disk_or_asked_for_again_must_be_clearly_older_than_the_removal() -> None:
    gone = removal(table="checks", key=f"{HOST}/c")
    for age_s, found in ((SKEW_MAX_S, ("c",)), (SKEW_MAX_S - 1.0, ())):
        restored = state_with(told=False, kept_at=1.0)
        with_check(restored, told=False, kept_at=100.0 - age_s)
        assert revoked_check(restored, gone) == found
        renewed = state_with()
        with_check(renewed)
        renewed.renew_check(CheckId("c"), 100.0 - age_s)
        assert revoked_check(renewed, gone) == found


def test_a_check_of_a_service_that_is_registered_anew_is_not_missing() -> None:
    state = state_with(told=False)
    with_check(state, kept_at=1.0)
    assert not missing(state, (), ()).checks
