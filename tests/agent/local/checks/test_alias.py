"""An alias says the worst of what it stands for."""

from __future__ import annotations

from agent.definitions import CheckDefinition
from agent.local.checks.alias import Aliases, judge, target_missing
from agent.local.services import LocalCheck, LocalService
from raftstore.records import Check, CheckId, Service, ServiceId, ServiceName
from tests.agent.local.parts import HOST, local_state

OWN = CheckId("alias")


def check(id_: str, status: str, output: str = "", owner: str = "") -> Check:
    return Check(
        node=HOST,
        id=CheckId(id_),
        name=id_,
        status=status,
        output=output,
        service_id=ServiceId(owner),
    )


def test_the_worst_check_decides() -> None:
    assert judge(OWN, []) == ("passing", "No checks found.")
    assert judge(OWN, [check("a", "passing")]) == ("passing", "All checks passing.")
    warned = [check("w", "warning", "hm"), check("a", "passing")]
    assert judge(OWN, warned) == ("warning", 'Aliased check "w" failing: hm')
    failed = [*warned, check("c", "critical", "down")]
    assert judge(OWN, failed) == ("critical", 'Aliased check "c" failing: down')
    assert judge(OWN, [check("alias", "critical")]) == ("passing", "No checks found.")


def test_an_unknown_service_is_critical() -> None:
    text = "Service consul-none could not be found on node "
    assert target_missing(ServiceId("consul-none"), "") == ("critical", text)


def host(*services: str):
    state = local_state()
    for name in services:
        record = Service(node=HOST, id=ServiceId(name), name=ServiceName(name))
        state.register(LocalService(record=record))
    return state


def put(state, aliases, record: Check, follows: str = "") -> None:
    definition = CheckDefinition(id=record.id, alias_service=ServiceId(follows))
    state.put_check(LocalCheck(record=record, definition=definition), 0.0)
    if follows:
        aliases.add(definition)


def settle(state, aliases, changed, own=()) -> int:
    steps = 0
    for check_id, status, output in aliases.follow(state, changed, own):
        state.update_check(check_id, status, output[:500], 0.0)
        steps += 1
    return steps


def test_a_chain_of_aliases_is_followed_to_its_end() -> None:
    state, aliases = host("a", "b", "c"), Aliases()
    put(state, aliases, check("a1", "passing", owner="a"))
    put(state, aliases, check("b1", "critical", owner="b"), follows="a")
    put(state, aliases, check("c1", "critical", owner="c"), follows="b")
    settle(state, aliases, ["a"])
    assert state.checks["c1"].record.status == "passing"
    state.update_check(CheckId("a1"), "critical", "x", 0.0)
    settle(state, aliases, ["a"])
    assert state.checks["c1"].record.status == "critical"
    state.deregister(ServiceId("a"))
    settle(state, aliases, ["a"])
    assert "could not be found" in state.checks["b1"].record.output


def test_checks_of_the_node_count_for_every_alias() -> None:
    state, aliases = host("a", "b"), Aliases()
    put(state, aliases, check("b1", "passing", "No checks found.", owner="b"), follows="a")
    assert settle(state, aliases, ["a"]) == 0
    put(state, aliases, check("node", "critical"))
    settle(state, aliases, [""])
    assert state.checks["b1"].record.status == "critical"


def test_a_circle_of_aliases_ends() -> None:
    state, aliases = host("a", "b"), Aliases()
    put(state, aliases, check("a1", "critical", owner="a"), follows="b")
    put(state, aliases, check("b1", "critical", owner="b"), follows="a")
    assert settle(state, aliases, ["a", "b"]) < 20


def test_what_is_removed_follows_no_more() -> None:
    aliases = Aliases()
    aliases.add(CheckDefinition(id=OWN, alias_service=ServiceId("a")))
    assert aliases.affected(ServiceId("a")) == (OWN,)
    aliases.remove(OWN)
    aliases.remove(OWN)
    assert aliases.affected(ServiceId("a")) == () == aliases.affected(ServiceId(""))
