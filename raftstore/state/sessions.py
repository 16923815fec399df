"""Sessions: what begins one, what ends it, and who is told.

A session ends with its node, with a check it is bound to, by being destroyed, or when the leader
finds its TTL over; always in the entry that causes it, so nobody ever sees a critical check beside
a live session. How each ended is remembered for a bounded number, so that the question why a lock
was lost has an answer. What becomes of its keys is locks.py's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from sortedcontainers import SortedDict

from raftstore.commands import Applied, Outcome, Rejected, SessionCreate, SessionDestroy
from raftstore.queries import SessionTimersAnswer
from raftstore.records import CRITICAL, CheckId, NodeName, Session, SessionEnd, SessionTimer
from raftstore.state.registry import NodeRow, Registry
from raftstore.state.tables import Indexes
from raftstore.uuids import lookup_problem, uuid_problem

_TABLE = "sessions"


class Sessions:
    """All sessions, found by id, by node and by check."""

    __slots__ = ("_by_check", "_by_id", "_by_node", "_ended", "_ended_max", "_indexes",
                 "_registry", "_timed", "_undo", "on_end", "on_ended", "stamp")  # fmt: skip

    def __init__(self, indexes: Indexes, registry: Registry, *, ended_max: int) -> None:
        self._indexes = indexes
        self._undo = indexes.undo
        self._registry = registry
        self._ended_max = ended_max
        self._by_id: SortedDict = SortedDict()  # id -> Session
        self._by_node: dict[str, dict[str, None]] = {}  # node in lower case -> ids
        self._by_check: dict[tuple[str, CheckId], dict[str, None]] = {}
        self._timed: SortedDict = SortedDict()  # (create index, id) -> Session
        self._ended: OrderedDict[str, SessionEnd] = OrderedDict()  # oldest first
        #: Frees a session's keys and gives their number; set by locks.py.
        self.on_end: Callable[[int, Session], int] = lambda index, session: 0
        #: Told of each session that has ended, by its id.
        self.on_ended: list[Callable[[int, str], None]] = []
        #: Replicated time of the entry that is being applied.
        self.stamp = 0.0
        registry.on_node_removed.append(self._node_gone)
        registry.on_check_lost = self._check_lost

    def __len__(self) -> int:
        return len(self._by_id)

    # -- beginning and ending --------------------------------------------------------------------

    def create(self, index: int, command: SessionCreate) -> Outcome:
        """Begin a session on a node whose named checks are there and not critical."""
        session = command.session
        problem = uuid_problem(session.id)
        if problem:
            return Rejected(index, problem)
        if session.id in self._by_id or session.id != session.id.lower():
            return Rejected(index, f'session id "{session.id}" cannot be used')
        row: NodeRow | None = self._registry.nodes.get(session.node.lower())
        if row is None:
            return Rejected(index, "Missing node registration")
        for check_id in session.bound_to():
            check = row.check(check_id)
            if check is None:
                return Rejected(index, f"Missing check '{check_id}' registration")
            if check.status == CRITICAL:
                return Rejected(index, f"Check '{check_id}' is in critical state")
        session = replace(session, create_index=index, modify_index=index)
        self._add(session)
        self._indexes.record((_TABLE, session.id, None, session))
        self._moved(index, session)
        return Applied(index, session.id)

    def destroy(self, index: int, command: SessionDestroy) -> Outcome:
        """End a session; one that is not there has ended already."""
        session = self.find(command.id)
        if isinstance(session, str):
            return Rejected(index, f"failed session lookup: {session}")
        if session is None:
            return Applied(index, False)
        self._end(index, session, command.cause)
        return Applied(index, True)

    def problem(self, session_id: str) -> str:
        """Why nothing can be bound to a session, "" if it is there."""
        found = self.find(session_id)
        if isinstance(found, str):
            return f"failed session lookup: {found}"
        return "invalid session" if found is None else ""

    def _node_gone(self, index: int, node: str) -> None:
        for session_id in sorted(self._by_node.get(node, ())):
            self._end(index, self._by_id[session_id], f'node "{node}" was deregistered')

    def _check_lost(self, index: int, node: str, check_id: CheckId, how: str) -> None:
        for session_id in sorted(self._by_check.get((node, check_id), ())):
            cause = f'check "{check_id}" on node "{node}" {how}'
            self._end(index, self._by_id[session_id], cause)

    def _end(self, index: int, session: Session, cause: str) -> None:
        self._undo.item(self._by_id, session.id)
        del self._by_id[session.id]
        self._indexes.record((_TABLE, session.id, session, None))
        for places, place in self._places(session):
            ids = places[place]
            self._undo.item(ids, session.id)
            del ids[session.id]
            if not ids:
                self._undo.item(places, place)
                del places[place]
        if session.ttl_ns:
            timer = (session.create_index, session.id)
            self._undo.item(self._timed, timer)
            del self._timed[timer]
        self._moved(index, session)
        keys = self.on_end(index, session)
        for follow in self.on_ended:
            follow(index, session.id)
        self._remember(
            SessionEnd(session=session, index=index, at=self.stamp, cause=cause, keys=keys)
        )

    def _remember(self, end: SessionEnd) -> None:
        self._undo.step(lambda: self._ended.pop(end.session.id))
        self._ended[end.session.id] = end
        if len(self._ended) > self._ended_max:
            oldest, forgotten = self._ended.popitem(last=False)
            self._undo.step(lambda: self._put_first(oldest, forgotten))

    def _put_first(self, session_id: str, end: SessionEnd) -> None:
        self._ended[session_id] = end
        self._ended.move_to_end(session_id, last=False)

    def _moved(self, index: int, session: Session) -> None:
        self._indexes.raise_to(_TABLE, index)
        self._indexes.touch("session", session.id)
        node = session.node.lower()
        self._indexes.touch("session-node", node)
        if node in self._by_node:
            self._indexes.note(_node_table(node), index)
        else:
            self._indexes.forget(_node_table(node))

    def _add(self, session: Session) -> None:
        self._undo.item(self._by_id, session.id)
        self._by_id[session.id] = session
        for places, place in self._places(session):
            if place not in places:
                self._undo.item(places, place)
                places[place] = {}
            self._undo.item(places[place], session.id)
            places[place][session.id] = None
        if session.ttl_ns:
            timer = (session.create_index, session.id)
            self._undo.item(self._timed, timer)
            self._timed[timer] = session

    def _places(self, session: Session) -> Iterator[tuple[dict[Any, dict[str, None]], Any]]:
        """Where the session is listed beside its id."""
        node = session.node.lower()
        yield self._by_node, node
        for check_id in session.bound_to():
            yield self._by_check, (node, check_id)

    # -- reading ---------------------------------------------------------------------------------

    def find(self, text: str) -> Session | str | None:
        """The session of an id in any case; a text says why the id is none."""
        session: Session | None = self._by_id.get(text)
        if session is None:
            return lookup_problem(text) or self._by_id.get(text.lower())
        return session

    def get(self, session_id: str) -> Session | None:
        """One session."""
        session: Session | None = self._by_id.get(session_id)
        return session

    def all(self) -> tuple[Session, ...]:
        """All sessions, by id."""
        return tuple(self._by_id.values())

    def on_node(self, node: NodeName) -> tuple[Session, ...]:
        """The sessions of one node, by id."""
        ids = sorted(self._by_node.get(node.lower(), ()))
        return tuple([self._by_id[session_id] for session_id in ids])

    def timers(self, after: int, limit: int) -> SessionTimersAnswer:
        """The first sessions with a TTL that were created after an index; 0 for no limit.

        The last index of a page begins the next, so those of one index are never parted. An entry
        of the log makes one session at most, but all of an archive have the same index.
        """
        found: list[SessionTimer] = []
        for key in self._timed.irange((after + 1, "")):
            if limit and len(found) >= limit and key[0] != found[-1].create_index:
                break
            session = self._timed[key]
            found.append(SessionTimer(session.id, session.ttl_ns, session.create_index))
        return SessionTimersAnswer(len(self._timed), tuple(found))

    def why_ended(self, session_id: str) -> SessionEnd | None:
        """How a session ended, if that is still remembered."""
        return self._ended.get(session_id)

    def index(self) -> int:
        """Index of all sessions."""
        return self._indexes.of(_TABLE)

    def index_of(self, session_id: str) -> int:
        """Index of one session; of all of them when it is not there."""
        session = self.get(session_id)
        return self.index() if session is None else session.modify_index

    def index_on(self, node: NodeName) -> int:
        """Index of a node's sessions; of all of them when there are none."""
        return self._indexes.of(_node_table(node.lower())) or self.index()

    # -- snapshots -------------------------------------------------------------------------------

    def rows(self) -> Iterator[Session]:
        """For a snapshot, by id."""
        return iter(self.all())

    def ends(self) -> Iterator[SessionEnd]:
        """For a snapshot, oldest first."""
        return iter(tuple(self._ended.values()))

    def load(self, session: Session) -> None:
        """From a snapshot."""
        self._add(session)

    def load_end(self, end: SessionEnd) -> None:
        """From a snapshot, in the order of ``ends``."""
        self._ended[end.session.id] = end

    def check(self) -> None:
        """Assert what only our own bug can break."""
        places: dict[object, set[str]] = {}
        for session_id, session in self._by_id.items():
            assert session_id == session.id, "a session is stored under another id"
            assert session.node.lower() in self._registry.nodes, "a session outlived its node"
            row: NodeRow = self._registry.nodes[session.node.lower()]
            for check_id in session.bound_to():
                check = row.check(check_id)
                assert check is not None, "a session outlived a check"
                assert check.status != CRITICAL, "a session outlived a check's health"
            for _, place in self._places(session):
                places.setdefault(place, set()).add(session_id)
        listed: dict[object, set[str]] = {node: set(ids) for node, ids in self._by_node.items()}
        listed |= {place: set(ids) for place, ids in self._by_check.items()}
        assert listed == places, "a session is listed wrongly"
        assert len(self._timed) == sum(1 for s in self._by_id.values() if s.ttl_ns)
        assert len(self._ended) <= self._ended_max


def _node_table(node: str) -> str:
    """The name under which the index of a node's sessions is kept."""
    return f"session-node/{node}"
