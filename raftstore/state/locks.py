"""Locks on keys: who may take one, what becomes of it when its session ends, and lock-delay.

Decides as Consul does (http-api contract 2 and 3), with one difference: lock-delay is kept in
replicated time and judged while the entry is applied, so all servers agree on it and it outlives
the leader. In Consul each leader judges it by its own clock before the entry is written.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace

from sortedcontainers import SortedList

from raftstore.commands import Applied, KVLock, KVUnlock, Outcome, Rejected
from raftstore.queries import SessionLocksAnswer
from raftstore.records import KVPair, Session
from raftstore.state.kv import KVStore
from raftstore.state.sessions import Sessions
from raftstore.state.sweeps import DELETE
from raftstore.state.undo import Undo

#: A longer delay is taken for this one, in nanoseconds (Consul's documented maximum).
LOCK_DELAY_MAX_NS = 60_000_000_000


class LockDelays:
    """Until when which key may not be locked. ``now`` is the replicated time of the entry."""

    __slots__ = ("_by_time", "_undo", "_until", "now")

    def __init__(self, undo: Undo) -> None:
        self._undo = undo
        self._until: dict[str, float] = {}
        self._by_time: SortedList = SortedList()  # (until, key), to find what is over
        self.now = 0.0

    def __len__(self) -> int:
        return len(self._until)

    def start(self, key: str, delay_ns: int) -> None:
        """Keep the key free from now on; delays that are over are forgotten meanwhile."""
        while self._by_time and self._by_time[0][0] <= self.now:
            self._take(self._by_time[0][1])
        if key in self._until:
            self._take(key)
        until = self.now + min(delay_ns, LOCK_DELAY_MAX_NS) / 1e9
        self._undo.step(lambda: self._drop(key))
        self.load(key, until)

    def runs(self, key: str) -> bool:
        """Whether the key may not be locked now."""
        return self._until.get(key, self.now) > self.now

    def _take(self, key: str) -> None:
        until = self._until[key]
        self._undo.step(lambda: self.load(key, until))
        self._drop(key)

    def _drop(self, key: str) -> None:
        self._by_time.remove((self._until.pop(key), key))

    def rows(self) -> Iterator[list[object]]:
        """For a snapshot, by key."""
        return ([key, until] for key, until in sorted(self._until.items()))

    def load(self, key: str, until: float) -> None:
        """From a snapshot."""
        self._until[key] = until
        self._by_time.add((until, key))


class Locks:
    """Joins keys and sessions."""

    __slots__ = ("_kv", "_sessions", "delays")

    def __init__(self, kv: KVStore, sessions: Sessions, delays: LockDelays) -> None:
        self._kv = kv
        self._sessions = sessions
        self.delays = delays
        sessions.on_end = kv.end_holder
        kv.on_freed = self._free

    def acquire(self, index: int, command: KVLock) -> Outcome:
        """Write the key and hold it, unless somebody else does or a delay runs."""
        self._kv.settle(index, command.key)
        if self.delays.runs(command.key):
            return Applied(index, False)
        if not command.session:
            return Rejected(index, "missing session")
        session = self._sessions.find(command.session)
        if isinstance(session, str):
            return Rejected(index, f"failed session lookup: {session}")
        if session is None:
            return Rejected(index, f'invalid session "{command.session}"')
        stored = self._kv.get(command.key)
        held = stored.session if stored else ""
        if held and held != session.id:
            return Applied(index, False)
        count = stored.lock_index if stored else 0
        pair = KVPair(
            key=command.key,
            value=command.value,
            flags=command.flags,
            session=session.id,
            lock_index=count if held else count + 1,
        )
        self._kv.write(index, pair)
        return Applied(index, True)

    def release(self, index: int, command: KVUnlock) -> Outcome:
        """Write the key and give it free, for the one who holds it."""
        self._kv.settle(index, command.key)
        if not command.session:
            return Rejected(index, "missing session")
        stored = self._kv.get(command.key)
        if stored is None or stored.session != command.session.lower():
            return Applied(index, False)
        freed = replace(stored, value=command.value, flags=command.flags, session="")
        self._kv.write(index, freed)
        return Applied(index, True)

    def held(self, session_id: str, limit: int) -> SessionLocksAnswer:
        """The first keys that a session holds, and their number."""
        keys = self._kv.held_keys(session_id)
        return SessionLocksAnswer(len(keys), tuple(heapq.nsmallest(limit, keys)))

    def sweep_some(self, count: int) -> None:
        """Change some of the rows that are gone or free already; the last call ends the sweep."""
        sweep = self._kv.sweep
        assert sweep is not None, "there is nothing to sweep"
        found = self._kv.next_swept(count)
        for pair in found:
            self._kv.take_away(sweep.index, pair)
        if len(found) < count:
            self._kv.sweep = None

    def _free(self, index: int, pair: KVPair, session: Session) -> None:
        if session.behavior == DELETE:
            self._kv.remove(index, pair)
        else:
            self._kv.write(index, replace(pair, session=""))
        if session.lock_delay_ns > 0:
            self.delays.start(pair.key, session.lock_delay_ns)
