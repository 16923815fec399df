"""Changes of the membership on their way into a leader's log: asked for, or seen to be due.

``changes`` says what one may make of a configuration; here is when it may be appended, and what
becomes of those that cannot be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from raftstore.errors import JournalFull, QueueFull, Refused, StoreError
from raftstore.raft.changes import (
    Change,
    Promotion,
    Unchanged,
    check_health,
    check_step,
    note_disks,
    set_role,
    unfounded,
)
from raftstore.raft.config import RaftConfig
from raftstore.raft.log import Journal
from raftstore.raft.members import VOTER, Config
from raftstore.raft.requests import ChangeRequest, Outcome

if TYPE_CHECKING:
    from raftstore.raft.engine import RaftEngine


class Reconfiguration:
    """The queue of changes of one replica."""

    def __init__(
        self,
        config: RaftConfig,
        engine: RaftEngine,
        journal: Journal,
        *,
        appended: Callable[[int, object], None],
        settled: Callable[[object, Outcome | StoreError], None],
    ) -> None:
        """``appended`` is told at which index a ticket's change stands, ``settled`` what became of
        a ticket whose change does not enter the log."""
        self._config = config
        self._engine = engine
        self._journal = journal
        self._appended = appended
        self._settled = settled
        self._waiting: deque[ChangeRequest] = deque()
        self._doubted: dict[str, float] = {}
        self._promotion = Promotion(
            lag_max=config.promotion_lag_max, stable_s=config.promotion_stable_s
        )

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, ticket: object, change: Change) -> ChangeRequest:
        """Queue a change. Raises QueueFull."""
        if len(self._waiting) >= self._config.changes_waiting_max:
            raise QueueFull("too many changes of membership are waiting")
        request = ChangeRequest(ticket, change)
        self._waiting.append(request)
        return request

    def leadership_changed(self) -> None:
        """Who was about to be promoted is looked at anew."""
        self._promotion.reset()

    def drain(self) -> list[ChangeRequest]:
        """Take out all that wait, without those for which nobody waits."""
        waiting = [request for request in self._waiting if request.ticket is not None]
        self._waiting.clear()
        return waiting

    def admit(self) -> None:
        """One change of the membership, or the promotion of a server that has caught up."""
        engine = self._engine
        if engine.heartbeat_is_due():
            ready = self._promotion.look(engine.now(), engine.staging_lags())
            if not self._waiting:
                self._note_disks()
            if ready is not None and not self._waiting:
                self._waiting.append(ChangeRequest(None, set_role(ready, VOTER)))
        while self._waiting and engine.may_change():
            request = self._waiting.popleft()
            if not request.withdrawn and self._append(request):
                break

    def _note_disks(self) -> None:
        """Ask for a change where a member shows a disk that the configuration does not have."""
        engine, config = self._engine, self._engine.config
        if config is None:
            return
        disks, now = engine.disks(), engine.now()
        doubted = unfounded(config, disks)
        self._doubted = {n: self._doubted.get(n, now) for n in doubted}
        grace_s = self._config.founding_grace_s
        change = note_disks(disks, [n for n in doubted if now - self._doubted[n] < grace_s])
        try:
            change(config)
            self._waiting.append(ChangeRequest(None, change))
        except Unchanged:
            pass

    def _append(self, request: ChangeRequest) -> bool:
        engine, before = self._engine, self._engine.config
        assert before is not None
        result: Outcome | StoreError
        try:
            after = request.change(before)
            check_step(before, after)
            self._check_leader_stays(after)
            if before.voters != after.voters:
                check_health(after, engine.heard_lately(self._config.election_min_s))
            if self._journal.full:
                raise JournalFull("the journal is full: writes stop, reads go on")
        except Unchanged:
            result = Outcome(engine.config_index)
        except Refused as error:
            result = error
        else:
            request.index = engine.append_config(after)
            if request.ticket is not None:
                self._appended(request.index, request.ticket)
            return True
        if request.ticket is not None:
            self._settled(request.ticket, result)
        return False

    def _check_leader_stays(self, after: Config) -> None:
        """PySyncObj counts the local server always, and a leader must be one that counts (D4)."""
        if self._config.node_id not in after.voters:
            raise Refused("a leader hands over before it is removed or demoted")
