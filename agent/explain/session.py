"""Why a session lives or does not: its holder, locks and checks, its TTL as the leader counts it,
and how it ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from agent.backend import Backend
from agent.backend.sessions import SessionClock
from agent.dates import date
from agent.errors import ForwardError, RequestError
from agent.explain.member import plain
from raftstore.errors import StoreError
from raftstore.queries import GetSession, NodeChecks, SessionLocks, WhySessionEnded
from raftstore.records import Json, Session, SessionEnd
from raftstore.uuids import lookup_problem

#: Asks the leader how a session's TTL stands.
AsksClock = Callable[[str], Awaitable[SessionClock]]


async def explain_session(backend: Backend, clock: AsksClock, arguments: Sequence[str]) -> Json:
    """Everything about one session by id, as long as its end is remembered.

    Raises RequestError (400, 404), and what ``Backend.ask`` raises.
    """
    given = arguments[0] if arguments else ""
    if not given:
        raise RequestError(400, "Missing session")
    problem = lookup_problem(given)
    if problem:
        raise RequestError(400, f"failed session lookup: {problem}")
    session_id = given.lower()
    session = (await backend.ask(GetSession(session_id))).value
    if session is not None:
        return await _living(backend, clock, session)
    end = (await backend.ask(WhySessionEnded(session_id))).value
    if end is None:
        raise RequestError(404, f"Session id '{given}' not found")
    return _ended(end)


async def _living(backend: Backend, clock: AsksClock, session: Session) -> Json:
    locks = (await backend.ask(SessionLocks(session.id))).value
    checks = {check.id: check for check in (await backend.ask(NodeChecks(session.node))).value}
    bound = [(check_id, checks.get(check_id)) for check_id in session.bound_to()]
    return {
        "State": "alive",
        **_described(session),
        "Locks": {"Count": locks.count, "Keys": list(locks.keys)},
        "EndsWithChecks": [
            {
                "CheckID": check_id,
                "Status": "" if check is None else check.status,
                "Output": "" if check is None else check.output,
            }
            for check_id, check in bound
        ],
        "Clock": await _counted(clock, session),
    }


async def _counted(clock: AsksClock, session: Session) -> Json:
    if not session.ttl_ns:
        return {"Reason": "the session has no TTL"}
    try:
        counted = await clock(session.id)
    except (StoreError, ForwardError) as error:
        return {"Reason": f"the leader cannot be asked: {error}"}
    if not counted.known:
        return {"Leader": counted.leader, "Reason": "the leader has not seen the session yet"}
    return plain(counted)


def _ended(end: SessionEnd) -> Json:
    delay_s = end.session.lock_delay_ns / 1e9
    return {
        "State": "ended",
        **_described(end.session),
        "Cause": end.cause,
        "EndedAt": date(end.at),
        "EndedIndex": end.index,
        "KeysHeld": end.keys,
        "LockDelayUntil": date(end.at + delay_s) if end.keys and delay_s > 0 else None,
    }


def _described(session: Session) -> dict[str, Json]:
    return {
        "ID": session.id,
        "Name": session.name,
        "Node": session.node,
        "Behavior": session.behavior,
        "TTL": session.ttl,
        "LockDelaySeconds": session.lock_delay_ns / 1e9,
        "CreateIndex": session.create_index,
    }
