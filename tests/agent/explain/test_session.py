"""A session is explained while it lives and after it has ended."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from agent.backend.sessions import SessionClock
from agent.errors import NoClusterLeader, RequestError
from agent.explain.session import explain_session
from raftstore.commands import KVLock, Register, SessionCreate, SessionDestroy
from raftstore.records import Check, CheckId, Node, NodeName, Session
from tests.agent.local.parts import Catalog

ID = "0000000a-0000-4000-8000-000000000000"
OTHER = "0000000b-0000-4000-8000-000000000000"
COUNTED = SessionClock(
    leader="s1", known=True, ttl_s=10.0, left_s=4.0, since="renewed", renewals=2,
    renewed_ago_s=(9.0, 6.5),
)  # fmt: skip


@pytest.fixture
def catalog() -> Catalog:
    made = Catalog()
    health = Check(
        node=NodeName("n1"), id=CheckId("serfHealth"), status="passing", output="Agent alive"
    )
    made.apply(Register(node=Node(name=NodeName("n1"), address="10.0.0.1"), checks=(health,)))
    made.apply(
        SessionCreate(
            Session(
                id=ID, name="job", node=NodeName("n1"), ttl="10s", ttl_ns=10_000_000_000,
                lock_delay_ns=2_000_000_000, node_checks=(CheckId("serfHealth"),),
            )
        )
    )  # fmt: skip
    for key in ("b", "a"):
        made.apply(KVLock(key=key, value=b"", session=ID))
    return made


async def counted(session_id: str) -> SessionClock:
    assert session_id == ID
    return COUNTED


async def test_a_living_session_says_what_it_holds_and_what_it_hangs_on(catalog: Catalog) -> None:
    told = await explain_session(catalog, counted, [ID.upper()])
    assert (told["State"], told["Node"], told["Name"], told["TTL"]) == ("alive", "n1", "job", "10s")
    assert told["Locks"] == {"Count": 2, "Keys": ["a", "b"]}
    assert told["EndsWithChecks"] == [
        {"CheckID": "serfHealth", "Status": "passing", "Output": "Agent alive"}
    ]
    clock = told["Clock"]
    assert (clock["Leader"], clock["LeftS"], clock["RenewedAgoS"]) == ("s1", 4.0, [9.0, 6.5])


async def test_an_ended_session_says_why_and_when(catalog: Catalog) -> None:
    catalog.apply(SessionDestroy(ID, "TTL expired"))
    told = await explain_session(catalog, counted, [ID])
    assert (told["State"], told["Cause"], told["KeysHeld"]) == ("ended", "TTL expired", 2)
    delay = datetime.fromisoformat(told["LockDelayUntil"]) - datetime.fromisoformat(told["EndedAt"])
    assert delay == timedelta(seconds=2)
    assert told["EndedIndex"] == catalog.machine.index


async def test_what_the_leader_cannot_tell_is_said(catalog: Catalog) -> None:
    async def nobody(session_id: str) -> SessionClock:
        raise NoClusterLeader

    async def young(session_id: str) -> SessionClock:
        return SessionClock(leader="s2")

    told = await explain_session(catalog, nobody, [ID])
    assert told["Clock"] == {"Reason": "the leader cannot be asked: No cluster leader"}
    told = await explain_session(catalog, young, [ID])
    assert told["Clock"]["Leader"] == "s2" and "not seen" in told["Clock"]["Reason"]
    catalog.apply(SessionCreate(Session(id=OTHER, node=NodeName("n1"))))
    told = await explain_session(catalog, counted, [OTHER])
    assert told["Clock"] == {"Reason": "the session has no TTL"}


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ([], 400, "Missing session"),
        (["x"], 400, "failed session lookup: index error: UUID must be 36 characters"),
        ([OTHER], 404, f"Session id '{OTHER}' not found"),
    ],
)
async def test_a_session_that_nobody_knows(
    catalog: Catalog, arguments: list[str], status: int, text: str
) -> None:
    with pytest.raises(RequestError) as raised:
        await explain_session(catalog, counted, arguments)
    assert (raised.value.status, raised.value.text) == (status, text)
