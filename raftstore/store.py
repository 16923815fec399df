"""The async face of the replicated store: propose, read at an index, wait for a change.

Joins the replicated log, which carries bytes, with the state machine, which gives them meaning, and
wakes whoever waits for what a batch of entries changed. Everything runs on one event loop, so an
answer and the watch that is set after it see the same state.

Left to others: forwarding to the leader and retries (agent/backend), replication (raftstore/raft),
what a command means (raftstore/state).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, TypeVar

from raftstore import wire
from raftstore.commands import Applied, Command, Outcome, Rejected, RequestId, StageRestore
from raftstore.config import StoreConfig
from raftstore.errors import NoLeader, QueueFull, Refused, StoreError
from raftstore.imaging import StateImages, hide_staged
from raftstore.meanings import Meanings
from raftstore.paced import Paced
from raftstore.queries import Answer, At, Query
from raftstore.records import Actor
from raftstore.replication import Log, LogFactory, LogStatus
from raftstore.state import StateMachine
from raftstore.state.dedupe import gone
from raftstore.watches import Watches
from raftstore.wire import Envelope

if TYPE_CHECKING:
    from raftstore.archive import ArchiveMeta
    from raftstore.raft import Journal, Operations, SnapshotFiles
    from raftstore.raft.log import SnapshotPointer
    from raftstore.raft.transport import PeerTls

__all__ = ["Log", "LogStatus", "Store", "StoreConfig"]

T = TypeVar("T")

_LEADER = "leader"

#: Between two steps of freeing a state that was replaced.
_DISSOLVE_PAUSE_S = 0.002

log = logging.getLogger("lictor.raftstore.store")


class Store:
    """One server's copy of the replicated state, and its part in keeping all copies alike."""

    def __init__(
        self,
        config: StoreConfig,
        *,
        on_change: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
        make_log: LogFactory | None = None,
        tls: PeerTls | None = None,
    ) -> None:
        """``tls`` secures the links to other servers; None leaves them plain."""
        self._config = config
        self._on_change = on_change
        self._rng = rng
        self._tls = tls
        self._make_log = make_log or self._open_raft
        self._log: Log | None = None
        self._journal: Journal | None = None
        self._scratch: TemporaryDirectory[str] | None = None
        self._is_leader = False
        self._known_leader = False
        self._leader_address = ""
        self._stopped = False
        self._catching_up: dict[asyncio.Future[None], int] = {}
        self._without_leader: set[asyncio.Future[bool]] = set()
        self._commands_applied = 0
        self._meanings = Meanings()
        self._watches = Watches(watches_max=config.blocking_queries_max)
        self._paced = Paced(lambda: self.state, self._watches, lambda: self._started.resume())
        self.state = StateMachine(config.state)
        self._restored_index = 0
        self._snapshots: SnapshotFiles | None = None
        #: Called when the state as a whole was replaced: by an archive, or by a leader's snapshot.
        #: What was made of it must be let go.
        self.on_replaced: list[Callable[[], None]] = []
        #: How often a leader is heard when there is nothing to say.
        self.heartbeat_s = 0.0

    # Life

    async def start(self) -> None:
        """Open the journal and take part. Raises CorruptState."""
        self._log = self._make_log(self._apply, self._applied, self._changed)
        self._log.pace_applies(self._paced.holds_applies)
        await self._log.start()
        self._changed()

    async def stop(self) -> None:
        """Stop taking part; blocked queries return with what they have."""
        self._stopped = True
        self._paced.wake(self._watches.all())
        for future in list(self._catching_up):
            if not future.done():
                future.set_exception(NoLeader("this server stops"))
        if self._log is not None:
            await self._log.stop()
        if self._journal is not None:
            self._journal.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    def _open_raft(
        self,
        apply: Callable[[int, float, bytes], object],
        on_applied: Callable[[], None],
        on_change: Callable[[], None],
    ) -> Log:
        # Here, so that a store over another log (tests, tools) does not load the engine.
        from raftstore.raft import LmdbJournal, MemJournal, RaftConfig, RaftNode, SnapshotFiles

        config = self._config
        raft = RaftConfig(
            node_id=config.node_id,
            lease=config.raft_lease,
            yield_when_full=config.yield_when_full,
            snapshot_log_entries=config.snapshot_entries,
            snapshot_interval_s=config.snapshot_interval_s,
            trailing_entries=config.trailing_entries,
            payload_bytes_max=wire.LIMITS.command_bytes_max,
            journal_bytes_max=config.journal_bytes_max,
            promotion_stable_s=0.0,  # whoever asks has waited for a stable server already
        ).stretched(config.raft_multiplier)
        self.heartbeat_s = raft.heartbeat_s
        if config.data_dir:
            path = Path(config.data_dir) / "raft"
            journal = LmdbJournal(path, map_bytes=config.journal_bytes_max)
            if shortage := journal.shortage():
                log.warning("%s", shortage)
            self._journal = journal
        else:
            self._journal = MemJournal()
            self._scratch = TemporaryDirectory(prefix="lictor-")
            path = Path(self._scratch.name)
        self._snapshots = SnapshotFiles(path / "snapshots")
        images = StateImages(config.state, current=lambda: self.state, replace=self._replace_state)
        return RaftNode(
            raft,
            journal=self._journal,
            apply=apply,
            on_applied=on_applied,
            on_change=on_change,
            rng=self._rng,
            tls=self._tls,
            snapshots=(self._snapshots, images),
        )

    def _replace_state(self, state: StateMachine) -> None:
        """A snapshot takes the place of the state: what changed is not known, so all wake."""
        before, self.state = self.state, state
        self._tell_replaced()
        self._dissolve(before.dissolve())

    def _tell_replaced(self) -> None:
        self._restored_index = self.state.restored_index
        for told in self.on_replaced:
            told()
        self._paced.wake(self._watches.all())

    def _dissolve(self, steps: Iterator[None]) -> None:
        """Free the old state between other work: at once it would hold up the loop."""
        for _ in steps:
            asyncio.get_running_loop().call_later(_DISSOLVE_PAUSE_S, self._dissolve, steps)
            return

    # The log, passed through

    @property
    def _started(self) -> Log:
        assert self._log is not None, "the store is not started"
        return self._log

    def accept(self) -> asyncio.Protocol:
        """A protocol for a connection of another server."""
        return self._started.accept()

    def set_address(self, node_id: str, host: str, port: int) -> None:
        """Where another server is reached now."""
        self._started.set_address(node_id, host, port)
        self._look()

    def bootstrap(self, members: Mapping[str, str]) -> None:
        """Form a cluster of these servers (node id -> address)."""
        self._started.bootstrap(members)

    def claim_founding(self) -> None:
        """This server founded the cluster that it has heard of from others: before that it cannot
        have promised anything, so nothing of it is lost."""
        self._started.claim_founding()

    @property
    def bootstrapped(self) -> bool:
        """Whether this server belongs to a cluster."""
        return self._started.bootstrapped

    @property
    def cluster_id(self) -> str:
        """Which cluster it belongs to."""
        return self._started.cluster_id

    @staticmethod
    def cluster_id_of(node_ids: Iterable[str]) -> str:
        """The id that a cluster formed of these servers has."""
        from raftstore.raft.members import bootstrap_config

        return bootstrap_config(dict.fromkeys(node_ids, "127.0.0.1:1")).cluster_id

    @property
    def operations(self) -> Operations:
        """Leadership transfer, and changes of the set of servers; on the leader only."""
        return self._started.operations

    @property
    def fatal(self) -> asyncio.Future[Any]:
        """Done with the reason when this server must not go on."""
        return self._started.fatal

    def status(self) -> LogStatus:
        """What this server knows of its cluster."""
        return self._started.status()

    @property
    def is_leader(self) -> bool:
        """Whether this server believes that it leads."""
        return self._is_leader

    @property
    def age_s(self) -> float:
        """How old the state here may be, in seconds: 0 on a leader that hears its majority."""
        return self._started.age_s

    @property
    def applied_index(self) -> int:
        """How far this server has applied the log."""
        return self._started.applied_index

    @property
    def leader_address(self) -> str:
        """The leader's address as this server knows it, "" for none."""
        return self._leader_address

    @property
    def known_leader(self) -> bool:
        """Whether this server knows who leads."""
        return self._known_leader

    def _changed(self) -> None:
        # Asked on every request, told only on changes: a status is dear to make (it was a sixth
        # of a linearizable read).
        self._look()
        self._on_change()

    def _look(self) -> None:
        status = self._started.status()
        before = self._leader_address
        self._is_leader = status.role == _LEADER
        self._known_leader = bool(status.leader_id)
        self._leader_address = status.leader_address or ""
        if self._leader_address and self._leader_address != before:
            for woken in self._without_leader:
                _settle(woken, True)

    async def leader_within(self, wait_s: float) -> None:
        """Return as soon as another leader than now is known, at the latest after ``wait_s``."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(wait_s, _settle, woken, False)
        self._without_leader.add(woken)
        try:
            await woken
        finally:
            timer.cancel()
            self._without_leader.discard(woken)

    # Changes

    async def propose(
        self,
        command: Command,
        *,
        request_id: RequestId | None = None,
        actor: Actor | None = None,
        timeout_s: float | None = None,
    ) -> Outcome:
        """Replicate a command; on the leader only. Raises StoreError."""
        payload = wire.encode_command(command, request_id=request_id, actor=actor)
        return await self.propose_encoded(payload, timeout_s=timeout_s)

    async def propose_encoded(self, payload: bytes, *, timeout_s: float | None = None) -> Outcome:
        """The same for bytes of ``wire.encode_command``, which the caller has checked."""
        if timeout_s is None:
            timeout_s = self._config.propose_timeout_s
        _, outcome = await self._started.propose(payload, timeout_s=timeout_s)
        assert isinstance(outcome, Applied | Rejected), "the log gives back what apply returned"
        if (unknown := gone(outcome)) is not None:
            raise unknown
        return outcome

    def propose_soon(
        self,
        payload: bytes,
        *,
        timeout_s: float,
        done: Callable[[Outcome | StoreError], None],
        means: Envelope | None = None,
    ) -> None:
        """``propose_encoded`` without a task: ``done`` is called once, soon, and must not raise.

        ``means`` is what decoding the payload gives, for whom it is known already.
        """
        if means is not None:
            self._meanings.expect(payload, means)
        told = functools.partial(self._tell, payload, done)
        try:
            self._started.propose_soon(payload, timeout_s=timeout_s, done=told)
        except StoreError as error:
            told(error)

    def _tell(
        self, payload: bytes, done: Callable[[Outcome | StoreError], None], result: Any
    ) -> None:
        if isinstance(result, StoreError):
            self._meanings.forget(payload, None)
            done(result)
        else:
            done(gone(result.value) or result.value)

    def _apply(self, index: int, stamp: float, payload: bytes) -> Outcome:
        command, request_id, actor = self._meanings.take(index, payload)
        self._commands_applied += 1
        if type(command) is StageRestore:
            hide_staged(command.part)
        return self.state.begin(index, stamp, command, request_id, actor)

    def _applied(self) -> None:
        """A batch of entries is in the state: wake whom it concerns."""
        for state in self.state.take_replaced():
            self._dissolve(state.dissolve())
        if self.state.restored_index != self._restored_index:
            self._tell_replaced()
        self._paced.applied()
        if self._catching_up:
            reached = self._started.applied_index
            for future, index in list(self._catching_up.items()):
                if index <= reached and not future.done():
                    future.set_result(None)

    # Reads

    async def read_index(self, *, timeout_s: float) -> int:
        """An index no older than this call, confirmed by a quorum; on the leader only."""
        return await self._started.read_index(timeout_s=timeout_s)

    def read_index_soon(
        self, *, timeout_s: float, done: Callable[[int | StoreError], None]
    ) -> None:
        """The same by callback: without a task."""

        def told(result: Any) -> None:
            done(result if isinstance(result, StoreError) else result.index)

        try:
            self._started.read_index_soon(timeout_s=timeout_s, done=told)
        except StoreError as error:
            done(error)

    async def barrier(self, *, timeout_s: float) -> None:
        """Return once this server's state is no older than the call; on the leader only.

        Raises StoreError when leadership cannot be confirmed in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        index = await self.read_index(timeout_s=timeout_s)
        await self.applied(index, timeout_s=deadline - loop.time())

    async def applied(self, index: int, *, timeout_s: float) -> None:
        """Return once this server has applied the log up to ``index``. Raises NoLeader if not."""
        if self.state.index >= index or self._started.applied_index >= index:
            return
        if self._stopped or len(self._catching_up) >= self._config.blocking_queries_max:
            raise QueueFull("too many reads wait for this server to catch up")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._catching_up[future] = index
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            raise NoLeader("this server did not catch up in time") from None
        finally:
            del self._catching_up[future]

    def answer(self, query: Query[T]) -> Answer[T]:
        """What this server's state says now, however old that is."""
        return self.state.answer(query)

    def is_long(self, query: Query[Any]) -> bool:
        """Whether the answer is so long that it should be ``gathered``."""
        return self.state.gather(query) is not None

    async def gathered(self, query: Query[T]) -> Answer[T]:
        """``answer``, in slices where it is long."""
        return await self._paced.gathered(query)

    async def gathered_at(self, query: Query[T], at: At) -> Answer[T]:
        """What it said at an earlier moment, in slices. Raises NotInHistory."""
        return await self._paced.gathered(query, at)

    async def settled(self) -> None:
        """Return once no entry is half applied: what tells of the past must not see one."""
        await self._paced.settled()

    async def wait(self, query: Query[T], *, min_index: int, wait_s: float) -> Answer[T]:
        """The answer as soon as its index is over ``min_index``, or as it is after ``wait_s``.
        Raises QueueFull when too many wait already, NoLeader when this server has stopped.
        """
        if self._stopped:  # whoever asks in a loop would never let another task run
            raise NoLeader("this server has stopped")
        now = asyncio.get_running_loop().time
        deadline = now() + wait_s
        while self.state.index_of(query) <= min_index and not self._stopped:
            if not await self._changes(query, deadline - now()):
                break
        return await self.gathered(query)

    async def _changes(self, query: Query[Any], wait_s: float) -> bool:
        """Whether the query's footprint is touched within the time."""
        if wait_s <= 0:
            return False
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        cancel = self.watch_patiently(query, lambda: _settle(woken, True))
        timer = loop.call_later(wait_s, _settle, woken, False)
        try:
            return await woken
        finally:
            timer.cancel()
            cancel()

    def watch_once(self, query: Query[Any], callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when the query's answer may have changed; gives a cancel function.

        The callback runs on the loop, must be short and must not raise. Raises QueueFull.
        """
        return self._watches.watch_once(query.footprint(), callback)

    def watch_patiently(
        self, query: Query[Any], callback: Callable[[], None]
    ) -> Callable[[], None]:
        """``watch_once`` for what may be called a moment after the others, when many wait."""
        return self._watches.watch_once(query.footprint(), callback, patient=True)

    async def snapshot_now(self) -> SnapshotPointer:
        """Take a snapshot of this server's state; gives which one. Raises StoreError."""
        pointer: SnapshotPointer = await self._started.snapshot_now()
        return pointer

    async def save_archive(self, out: IO[bytes], *, compress_level: int = 3) -> ArchiveMeta:
        """Write this server's state as it is now to ``out``, as an archive (archive.py).

        Raises StoreError; ``out`` is then worth nothing. Not durable until the caller syncs it.
        """
        from raftstore.archiving import write_archive

        pointer = await self.snapshot_now()
        if self._snapshots is None:
            raise Refused("this server keeps no snapshots")
        source = self._snapshots.path(pointer.name)
        return await asyncio.to_thread(write_archive, source, out, level=compress_level)

    def metrics(self) -> dict[str, Any]:
        """The log's status and this store's own counters, by name."""
        status: Any = self.status()
        return {
            **{field.name: getattr(status, field.name) for field in fields(status)},
            "commands_applied": self._commands_applied,
            "watches_open": len(self._watches),
            "catching_up_open": len(self._catching_up),
        }


def _settle(future: asyncio.Future[bool], result: bool) -> None:
    if not future.done():
        future.set_result(result)
