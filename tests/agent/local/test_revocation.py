"""A removal through the catalog counts if it was asked for by itself, after the registration."""

from __future__ import annotations

import pytest

from agent.local.revocation import (
    SKEW_MAX_S,
    asked_for_since,
    missing_checks,
    missing_services,
    revoked_checks,
    revoked_services,
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
    return revoked_services(state, missing_services(state, ()), changes, of_node, HOST)


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
    assert missing_services(state_with(told=False), ()) == ()
    assert missing_services(state_with(source="local"), ()) == ()
    there = Service(node=HOST, id=WEB, name=ServiceName("web"))
    assert missing_services(state_with(), (there,)) == ()


def test_a_registration_from_disk_must_be_clearly_older_than_the_removal() -> None:
    older = state_with(told=False, kept_at=100.0 - SKEW_MAX_S)
    assert revoked(older, removal()) == (WEB,)
    about_as_old = state_with(told=False, kept_at=101.0 - SKEW_MAX_S)
    assert revoked(about_as_old, removal()) == ()


def test_a_registration_that_comes_while_the_journal_is_asked_is_told_apart() -> None:
    assert asked_for_since(state_with(told=False), WEB)
    assert not asked_for_since(state_with(told=False, kept_at=1.0), WEB)
    assert not asked_for_since(state_with(), WEB)
    assert not asked_for_since(local_state(), WEB)


def test_one_that_was_asked_for_again_since_stays() -> None:
    state = state_with()
    state.renew(WEB, 99.0)
    assert revoked(state, removal()) == ()
    assert revoked(state, removal(stamp=200.0)) == (WEB,)


def test_a_check_is_revoked_unless_it_went_with_its_service() -> None:
    state = state_with()
    record = Check(node=HOST, id=CheckId("c"), service_id=WEB)
    state.put_check(LocalCheck(record=record, definition=ttl("c")), 0.0)
    assert missing_checks(state, ()) == ()
    state.mark_check_synced(record)
    missing = missing_checks(state, ())
    assert missing == ("c",)
    gone = removal(table="checks", key=f"{HOST}/c")
    name = NodeName(HOST)
    assert revoked_checks(state, missing, (gone,), (), name) == ("c",)
    assert revoked_checks(state, missing, (gone,), (removal(),), name) == ()
