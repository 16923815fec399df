"""The replicated state machine: commands in, outcomes; queries in, answers.

Total and deterministic: the same commands at the same indexes give the same state, byte for byte,
on every server. It knows no clock; the leader's time comes with each entry. Which rules hold is
decided in the modules beside this one; here they are joined, and a repeated request is recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from raftstore import commands as c
from raftstore import queries as q
from raftstore.catalog_queries import CountServices, DumpNode, DumpNodes
from raftstore.config import StateLimits
from raftstore.dns_queries import HealthSample, WhoHasAddress
from raftstore.errors import DecodeError
from raftstore.queries import Answer, At, Footprint, Query
from raftstore.records import Actor, Restored, RestoreView
from raftstore.restore_queries import GetRestore
from raftstore.signing_requests import GetSigningRequest, OpenSigningRequest
from raftstore.state import kv, listings, past, snapshots
from raftstore.state.catalog import Catalog
from raftstore.state.history import OpenChange
from raftstore.state.staging import Staging
from raftstore.state.transactions import Transactions
from raftstore.state.txn_catalog import CatalogVerbs
from raftstore.state.txn_keys import KeyVerbs
from raftstore.state.whole import State

T = TypeVar("T")

#: Rows freed in one step: about a millisecond.
_DISSOLVED_AT_ONCE = 500
#: Rows changed in one step of a sweep: two to three milliseconds.
_SWEPT_AT_ONCE = 128
#: Why a restore has to wait.
ANOTHER = "another snapshot is being restored"
_RESTORES = "restores"
_NOT_STAGED = "this snapshot is not being restored (any more)"
#: What belongs to the log and not to what an archive holds: it outlives a restore.
_OF_THE_LOG = frozenset(
    {"_limits", "_open", "_replaced", "_written", "index", "stamp", "dedupe", "history", "staged",
     "restored", "restored_index"}
)  # fmt: skip


class StateMachine(State):
    """All that the servers agree on."""

    def __init__(self, limits: StateLimits = StateLimits()) -> None:  # noqa: B008  frozen value
        super().__init__(limits)
        self._begin()

    def _reset(self) -> None:
        self._empty()
        self._begin()

    def _begin(self) -> None:
        limits = self._limits
        self._written = False  # since somebody asked what moved
        #: The change whose rows are still being written, in slices.
        self._open: OpenChange | None = None
        self.staged: Staging | None = None
        #: States and parts of states that are worth nothing any more.
        self._replaced: list[State] = []
        self._catalog = Catalog(self.registry)
        self._transactions = Transactions(
            KeyVerbs(self.kv, self.locks),
            CatalogVerbs(self._catalog, self.lookups),
            self.sessions,
            self.indexes,
            limits,
        )
        self._appliers = self._make_appliers()
        self._readers = self._make_readers()

    def _make_appliers(self) -> dict[type, Callable[[int, Any], c.Outcome]]:
        return {
            c.Register: self._catalog.register,
            c.Deregister: self._catalog.deregister,
            c.KVSet: self.kv.set,
            c.KVDelete: self.kv.delete,
            c.KVDeleteTree: self.kv.delete_tree,
            c.DeleteIntention: self.intentions.delete,
            c.SetCA: self.ca.set_ca,
            c.SetCAConfig: self.ca.set_config,
            c.NextSerial: self.ca.next_serial,
            OpenSigningRequest: self.ca.open_request,
            c.SessionCreate: self.sessions.create,
            c.SessionDestroy: self.sessions.destroy,
            c.KVLock: self.locks.acquire,
            c.KVUnlock: self.locks.release,
            c.Transaction: self._transactions.apply,
            c.SetAutopilot: self.autopilot.set,
            **self.virtual.appliers(),
            **self.revocations.appliers(),
            c.BeginRestore: self._begin_restore,
            c.StageRestore: self._stage_restore,
            c.EndRestore: self._end_restore,
            **self.definitions.appliers(),
            **self.config.appliers(),
        }

    def apply(
        self,
        index: int,
        stamp: float,
        command: c.Command,
        request_id: c.RequestId | None = None,
        actor: Actor | None = None,
    ) -> c.Outcome:
        """Carry out a committed command. A repeated request gets the outcome it had."""
        outcome = self.begin(index, stamp, command, request_id, actor)
        self.finish()
        return outcome

    def begin(
        self,
        index: int,
        stamp: float,
        command: c.Command,
        request_id: c.RequestId | None = None,
        actor: Actor | None = None,
    ) -> c.Outcome:
        """The same, but may leave rows to be written by ``finish_some``.

        The outcome is settled, and answers are as if all were written: only those about the past
        want ``finish`` first, and so does the next command.
        """
        if self._open is not None:
            self.finish()
        assert index > self.index, "entries are applied in order, each once"
        self.index = index
        # Leaders' clocks differ; replicated time never runs backwards.
        self.stamp = max(self.stamp, stamp)
        self.sessions.stamp = self.locks.delays.now = self.stamp
        if request_id is not None:
            earlier = self.dedupe.recall(index, request_id)
            if earlier is not None:
                return earlier
        if self.staged is not None and self._staged_is_idle():
            self._drop_staged()
        self.kv.at_once = kv.AT_ONCE_MAX
        outcome = self._appliers[type(command)](index, command)
        cells = self.indexes.cells
        if self.kv.sweep is not None:
            self._open = self.history.open(index, self.stamp, actor, command.number)
        elif cells:
            self.history.add(index, self.stamp, actor, command.number, cells)
            cells.clear()
            self._written = True
        if request_id is not None:
            self.dedupe.remember(self.stamp, request_id, outcome)
        return outcome

    @property
    def unfinished(self) -> bool:
        """Whether rows of the last command are still to be written."""
        return self._open is not None

    def finish_some(self) -> None:
        """Write some of the rows that are left: about two milliseconds."""
        if self._open is None:
            return
        if self.kv.sweep is not None:
            self.locks.sweep_some(_SWEPT_AT_ONCE)
        self._open.take(self.indexes.cells)
        if self.kv.sweep is None:
            self.history.close(self._open)
            self._open = None
            self._written = True

    def finish(self) -> None:
        """Write all rows that are left."""
        while self._open is not None:
            self.finish_some()

    def answer(self, query: Query[T]) -> Answer[T]:
        """What the state says now, with the highest index of the query's footprint."""
        if self._open is not None and isinstance(query, q.History | q.Diff):
            self.finish()
        value, index = self._readers[type(query)]
        return Answer(max(1, self.restored_index, index(query)), value(query))

    def gather(self, query: Query[Any]) -> listings.Steps | None:
        """``answer`` in steps, where that is long; None if it can be made at once."""
        if isinstance(query, q.ReadTransaction):
            return self._read_in_steps(query)
        return listings.gather(self, query)

    def _read_in_steps(self, query: q.ReadTransaction) -> listings.Steps | None:
        steps = self._transactions.read_in_steps(query.operations)
        if steps is None:
            return None
        index = max(1, self.index_of(query))
        return listings.in_force(self, listings.answered(index, steps))

    def answer_at(self, query: Query[T], at: At) -> Answer[T]:
        """What the state said at an earlier index or time, index and all.

        Secrets that the state keeps are left out. Raises NotInHistory.
        """
        self.finish()
        return listings.whole(self.gather_at(query, at))

    def gather_at(self, query: Query[Any], at: At) -> listings.Steps:
        """``answer_at`` in steps, from a state in which no entry is half applied."""
        return listings.at_index(
            self, StateMachine(self._limits), query, self.history.resolve(at, self.index)
        )

    def index_of(self, query: Query[Any]) -> int:
        """The index that ``answer`` would give, without the value."""
        _, index = self._readers[type(query)]
        return max(1, self.restored_index, index(query))

    # Archives

    def _begin_restore(self, index: int, command: c.BeginRestore) -> c.Outcome:
        """An archive is about to come. One that stopped coming makes room; see apply."""
        if self.staged is not None:
            if self.staged.about.id == command.id:
                return c.Applied(index)
            return c.Rejected(index, ANOTHER)
        about = Restored(
            id=command.id,
            saved_index=command.saved_index,
            saved_cluster=command.saved_cluster,
            parts=0,
            staged_bytes=0,
            begun_index=index,
            begun_at=self.stamp,
        )
        self.staged = Staging(about, StateMachine(self._limits))
        return c.Applied(index)

    def _staged_is_idle(self) -> bool:
        assert self.staged is not None
        return self.stamp - self.staged.touched_at > self._limits.staged_idle_s

    def _drop_staged(self) -> None:
        assert self.staged is not None
        self._replaced.append(self.staged.state)
        self.staged = None

    def _stage_restore(self, index: int, command: c.StageRestore) -> c.Outcome:
        staged = self.staged
        if staged is None or staged.about.id != command.id:
            return c.Rejected(index, _NOT_STAGED)
        if command.part < len(staged.parts):
            return c.Applied(index)  # a copy of one that has come already
        if command.part > len(staged.parts):
            return c.Rejected(index, f"part {len(staged.parts)} of the snapshot is missing")
        if staged.about.staged_bytes + len(command.data) > self._limits.staged_bytes_max:
            self._drop_staged()
            return c.Rejected(
                index, f"the snapshot is over the limit of {self._limits.staged_bytes_max} bytes"
            )
        try:
            staged.add(command.data)
        except DecodeError as error:
            self._drop_staged()
            return c.Rejected(index, str(error))
        staged.touched_at = self.stamp
        return c.Applied(index)

    def _end_restore(self, index: int, command: c.EndRestore) -> c.Outcome:
        staged = self.staged
        if staged is None or staged.about.id != command.id:
            if command.abandon:
                return c.Applied(index, False)
            return c.Rejected(index, _NOT_STAGED)
        problem = "" if command.abandon else staged.problem(command.parts, command.sha256)
        if command.abandon or problem:
            self._drop_staged()
            return c.Rejected(index, problem) if problem else c.Applied(index, True)
        self.staged = None
        self._put_in_force(index, staged)
        return c.Applied(index, True)

    def _put_in_force(self, index: int, staged: Staging) -> None:
        """Trade places with the staged state: a matter of names, however large the two are."""
        state = staged.state
        # A serial number must never be given out twice, whatever was restored.
        state.ca.serial = max(state.ca.serial, self.ca.serial)
        mine, theirs = vars(self), vars(state)
        for name in theirs.keys() - _OF_THE_LOG:
            mine[name], theirs[name] = theirs[name], mine[name]
        self._appliers, self._readers = self._make_appliers(), self._make_readers()
        self._replaced.append(state)
        self.sessions.stamp = self.locks.delays.now = self.stamp
        # Whatever index a client has seen of anything is below this one.
        self.restored_index = self.history.barrier = index
        self.indexes.raise_all(index)
        before = self.restored
        self.restored = replace(staged.about, index=index, at=self.stamp)
        self.indexes.record((_RESTORES, "", before, self.restored))
        self.indexes.raise_to(_RESTORES, index)

    def staged_rows(self) -> list[Any]:
        """For a snapshot: what is staged, then its parts."""
        return [] if self.staged is None else self.staged.rows()

    def load_staged(self, row: Any) -> None:
        """From a snapshot: what is staged, then its parts. Raises DecodeError."""
        if type(row) is list:
            self.staged = Staging.begin(row, StateMachine(self._limits))
        elif self.staged is None or type(row) is not bytes:
            raise DecodeError("a part of an archive without its beginning")
        else:
            self.staged.add(row)

    def take_replaced(self) -> list[State]:
        """States that nobody needs any more, to be dissolved."""
        replaced, self._replaced = self._replaced, []
        return replaced

    def _restore_view(self) -> RestoreView:
        return RestoreView(
            last=self.restored, staged=None if self.staged is None else self.staged.about
        )

    def _make_readers(
        self,
    ) -> dict[type, tuple[Callable[[Any], Any], Callable[[Any], int]]]:
        """For each query how to get its value and its index."""
        look, kv, ca, of = self.lookups, self.kv, self.ca, self.indexes.of
        autopilot = self.autopilot
        return {
            q.ListNodes: (lambda _: look.nodes(), lambda _: of("nodes")),
            q.ListServices: (
                lambda x: look.services(x.node_meta),
                lambda x: max(of(table) for table, _ in x.footprint()),
            ),
            q.ServiceNodes: (
                lambda x: look.instances(x.service, x.tags, connect=x.connect),
                lambda x: look.name_index(x.service, connect=x.connect),
            ),
            q.NodeServices: (lambda x: look.node(x.node), lambda x: look.node_index(x.node)),
            q.HealthService: (
                lambda x: look.health(x.service, x.tags, connect=x.connect),
                lambda x: look.name_index(x.service, connect=x.connect),
            ),
            q.NodeChecks: (lambda x: look.node_checks(x.node), lambda x: look.node_index(x.node)),
            q.ServiceChecks: (
                lambda x: look.service_checks(x.service),
                lambda x: look.name_index(x.service, connect=False),
            ),
            q.ChecksInState: (lambda x: look.checks_in(x.state), lambda _: of("checks")),
            q.KVGet: (lambda x: kv.get(x.key), lambda x: kv.index_of(x.key)),
            q.KVList: (lambda x: kv.list(x.prefix), lambda x: kv.index_below(x.prefix)),
            q.KVKeys: (
                lambda x: kv.keys(x.prefix, x.separator),
                lambda x: kv.index_below(x.prefix),
            ),
            **self.intentions.readers(),
            q.GetCARoots: (lambda _: ca.roots_answer(), lambda _: ca.roots_index()),
            q.GetCAConfig: (lambda _: ca.config, lambda _: ca.config_index()),
            q.GetCAProvider: (lambda _: ca.provider, lambda _: ca.roots_index()),
            GetSigningRequest: (lambda _: ca.requested, lambda _: ca.request_index()),
            q.GetAutopilot: (lambda _: autopilot.config, lambda _: autopilot.index()),
            HealthSample: (
                look.sample,
                lambda x: look.name_index(x.service, connect=x.connect),
            ),
            WhoHasAddress: (lambda x: look.holder(x.address), lambda _: look.holder_index()),
            GetRestore: (lambda _: self._restore_view(), lambda _: of(_RESTORES)),
            **self._session_readers(),
            DumpNodes: (lambda _: look.dumps(), lambda _: look.dumps_index()),
            DumpNode: (lambda x: look.dump(x.node), lambda x: look.node_index(x.node)),
            CountServices: (lambda _: look.counts(), lambda _: look.services_index()),
            q.History: (
                lambda x: listings.whole(past.changes(self, x)),
                lambda _: self.history.index,
            ),
            q.Diff: (
                lambda x: listings.whole(past.difference(self, x)),
                lambda _: self.history.index,
            ),
            **{
                kind: (reader, self.definitions.index_of)
                for kind, reader in self.definitions.readers().items()
            },
            **self.config.readers(),
        }

    def _session_readers(
        self,
    ) -> dict[type, tuple[Callable[[Any], Any], Callable[[Any], int]]]:
        sessions, transactions = self.sessions, self._transactions
        return {
            q.GetSession: (lambda x: sessions.get(x.id), lambda x: sessions.index_of(x.id)),
            q.NodeSessions: (
                lambda x: sessions.on_node(x.node),
                lambda x: sessions.index_on(x.node),
            ),
            q.ListSessions: (lambda _: sessions.all(), lambda _: sessions.index()),
            q.SessionTimers: (
                lambda x: sessions.timers(x.after, x.limit),
                lambda _: sessions.index(),
            ),
            q.WhySessionEnded: (lambda x: sessions.why_ended(x.id), lambda _: sessions.index()),
            q.SessionLocks: (
                lambda x: self.locks.held(x.id, x.limit),
                lambda _: self.kv.index_below(""),
            ),
            q.ReadTransaction: (
                lambda x: transactions.read(x.operations),
                lambda x: transactions.index_of(x.operations),
            ),
        }

    def touched(self) -> frozenset[Footprint]:
        """What moved since the last call. Keys come one by one; watches know the prefixes."""
        if self._written:
            self._written = False
            self.indexes.touch("history", "")  # whoever watches it is woken by every change
        return self.indexes.drain()

    def snapshot(self) -> Iterator[snapshots.Chunk]:
        """The state as it is now, in chunks of plain data; equal states give equal chunks.

        Only references are copied at the call; the work is done as the chunks are taken, while
        the state may move on.
        """
        self.finish()
        return snapshots.take(self)

    def freeze(self) -> Generator[None, None, Iterator[bytes]]:
        """The same in short steps, as bytes: when the generator ends, its value is the chunks.

        No command may be applied before that; afterwards the state may move on.
        """
        while self._open is not None:
            self.finish_some()
            yield
        held = yield from snapshots.gather(self)
        return snapshots.encoded(held)

    def restore(self, chunks: Iterable[snapshots.Chunk]) -> None:
        """Replace everything by a snapshot. Raises DecodeError and is then empty.

        All watchers must be woken afterwards: what changed is not known.
        """
        self._reset()
        try:
            snapshots.load(self, chunks)
        except Exception:
            self._reset()
            raise

    def dissolve(self) -> Iterator[None]:
        """Let go of a state that was replaced, in short steps; it is worth nothing any more.

        Dropped at once, a million rows would hold up the loop while they are freed.
        """
        while self.kv.pairs.is_read:  # a snapshot of this state is still being written
            yield
        for table in (self.kv.pairs, self.registry.nodes, self.registry.names):
            while table:
                for _ in range(min(len(table), _DISSOLVED_AT_ONCE)):
                    table.popitem()
                yield
        yield from self.kv.dissolve()

    def check(self) -> None:
        """Assert what only our own bug can break."""
        self.finish()
        self.registry.check()
        self.kv.check()
        self.sessions.check()
        self.intentions.check()
        self.ca.check()
        self.dedupe.check()
        self.definitions.check()
        self.virtual.check()
        self.history.check()
        if self.staged is not None:
            self.staged.check()
        assert not self.indexes.cells, "cells were left over"
