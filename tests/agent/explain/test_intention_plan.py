"""What one intention would change, before it is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connect.clients import Counts, Wanted
from agent.errors import RequestError
from agent.explain.clients import Found
from agent.explain.intention import decision
from agent.explain.intention_plan import DELETE, intention_planner
from raftstore.commands import DeleteIntention, SetIntention
from raftstore.definition_commands import SetConfigEntry
from raftstore.definitions import ConfigEntry
from raftstore.records import IntentionSource, ServiceName
from raftstore.slices import in_slices
from tests.agent.explain.test_intention import a_backend
from tests.agent.http.rig import StateBackend

NAMES = ("a", "b", "c")
WHO = st.sampled_from((*NAMES, "*"))


async def plan(backend: StateBackend, source: str, destination: str, **query: str) -> Any:
    allow = query.pop("default", "allow") == "allow"
    planner = intention_planner(backend, in_slices, default_allow=allow)
    return await planner((source, destination), query)


def pairs(shown: Any) -> list[tuple[str, ...]]:
    return [tuple(each.values()) for each in shown["Changes"]]


async def test_only_what_would_be_decided_differently_is_listed() -> None:
    backend = await a_backend(("web", "db", "allow"), ("api", "*", "deny"))
    shown = await plan(backend, "*", "db", action="deny")
    # The exact rule of web still wins; api is denied already.
    assert pairs(shown) == [("db", "db", "allow", "deny")]
    assert (shown["Exists"], shown["Count"]) == (False, 1)
    shown = await plan(backend, "web", "db", action=DELETE, default="deny")
    assert pairs(shown) == [("web", "db", "allow", "deny")]
    assert "default/web => default/db" in shown["Replaces"]
    assert pairs(await plan(backend, "new", "db", action="audit")) == [
        ("new", "db", "allow", "audit")
    ]
    assert pairs(await plan(backend, "web", "db")) == []


async def test_permissions_decide_on_requests() -> None:
    backend = StateBackend()
    http = ConfigEntry(kind="service-defaults", name="db", content={"Protocol": "http"})
    await backend.change(SetConfigEntry(http))
    source = IntentionSource(
        name=ServiceName("web"), permissions=({"Action": "allow", "HTTP": {"PathExact": "/"}},)
    )
    await backend.change(SetIntention(destination=ServiceName("db"), source=source))
    assert pairs(await plan(backend, "web", "db")) == [("web", "db", "requests", "allow")]


@pytest.mark.parametrize(
    ("source", "destination", "action"),
    [("web*", "db", "allow"), ("web", "d*", "allow"), ("web", "db", "perhaps")],
)
async def test_a_plan_of_nothing_that_could_be_written_is_refused(
    source: str, destination: str, action: str
) -> None:
    with pytest.raises(RequestError):
        await plan(await a_backend(), source, destination, action=action)


@given(
    rules=st.dictionaries(st.tuples(WHO, WHO), st.sampled_from(["allow", "deny", "audit"])),
    source=WHO,
    destination=WHO,
    action=st.sampled_from(["allow", "deny", "audit", DELETE]),
    default=st.sampled_from(["allow", "deny"]),
)
async def test_what_is_planned_is_what_happens(
    rules: dict[tuple[str, str], str], source: str, destination: str, action: str, default: str
) -> None:
    # Every name is known by a rule that decides nothing new.
    known = {(name, "z"): "deny" for name in NAMES}
    held = [(one, other, what) for (one, other), what in {**known, **rules}.items()]
    backend = await a_backend(*held)

    async def answers() -> dict[tuple[str, str], tuple[bool, bool]]:
        found = {}
        for one in (*NAMES, "z"):
            for other in (*NAMES, "z"):
                told = await decision(
                    backend, source=one, destination=other, default_allow=default == "allow"
                )
                found[one, other] = (told.allowed, told.audited)
        return found

    shown = await plan(backend, source, destination, action=action, default=default)
    before = await answers()
    if action == DELETE:
        await backend.change(
            DeleteIntention(destination=ServiceName(destination), source=ServiceName(source))
        )
    else:
        rule = IntentionSource(name=ServiceName(source), action=action)
        await backend.change(SetIntention(destination=ServiceName(destination), source=rule))
    after = await answers()
    words = {(True, False): "allow", (True, True): "audit", (False, False): "deny"}
    every = (*NAMES, "z")
    assert pairs(shown) == [
        (one, other, words[before[one, other]], words[after[one, other]])
        for other in every
        for one in every
        if before[one, other] != after[one, other]
    ]


async def test_of_the_connections_that_stand_those_are_told_that_would_not() -> None:
    backend = await a_backend(("web", "db", "allow"), ("api", "*", "deny"))
    stands = (
        Counts("web", "db", "n1", 3, 1),
        Counts("old", "db", "n2", 2, 0),
        Counts("api", "db", "n2", 1, 0),
    )

    async def live(question: Wanted) -> Found:
        assert question == Wanted("*", "db")
        return Found(stands, asked=3, heard=2, more=True)

    planner = intention_planner(backend, in_slices, live, default_allow=True)
    shown: Any = await planner(("*", "db"), {"action": "deny", "live": ""})
    # The exact rule of web still wins; api is denied already, its connection is about to end.
    assert [tuple(each.values()) for each in shown["Live"]["Ending"]] == [
        ("old", "db", "n2", 2, 0, "deny")
    ]
    assert (shown["Live"]["Asked"], shown["Live"]["Heard"], shown["Live"]["More"]) == (3, 2, True)
    assert (await plan(backend, "*", "db", action="deny"))["Live"] is None
