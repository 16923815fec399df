"""The backend of a server: straight to the store, or to the leader where only it will do.

Changes go to the leader. Reads are answered here: in the default and consistent modes after the
leader has confirmed its leadership and named an index (read index, Raft dissertation 6.4) and this
server has applied that far; in stale mode at once. So watches hang on this server's own state and
survive elections.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from agent.backend import Ask, Consistency, RaftConfiguration, RaftServer, Reply, SignedLeaf
from agent.backend.operations import REPEATABLE
from agent.backend.requests import RequestIds
from agent.backend.retry import Attempts
from agent.backend.rounds import ReadRounds
from agent.backend.rpc import calls
from agent.backend.rpc.client import RpcPool
from agent.errors import ForwardError, NoClusterLeader, RequestError
from agent.tasks import TaskOwner, when_ended
from raftstore import wire
from raftstore.commands import Command, Outcome, RequestId
from raftstore.errors import DecodeError, EncodeError, NoLeader, StoreError
from raftstore.queries import Diff, History, Query
from raftstore.records import Actor
from raftstore.store import Store

T = TypeVar("T")

#: Signs a certificate request with the replicated CA (agent/connect/authority.py).
Signer = Callable[[str], Awaitable[SignedLeaf]]
#: Carries out what only the leader can: (payload, seconds left) -> the reply's payload.
LeaderMethod = Callable[[bytes, float], Awaitable[bytes]]


class LocalBackend:
    """Backend of an agent that is a server."""

    def __init__(
        self,
        store: Store,
        pool: RpcPool,
        *,
        sender: str,
        hold_s: float,
        signer: Signer,
        rng: random.Random,
        node: str = "",
    ) -> None:
        """``node`` is who acts where nobody else is named."""
        self._actor = Actor(node=node)
        self._store = store
        self._pool = pool
        self._hold_s = hold_s
        self._signer = signer
        self._rng = rng
        self._ids = RequestIds(sender)
        self._owner = TaskOwner()
        self._closed = False
        self._aged_at, self._age_s = -1.0, 0.0
        # Whether this state has been up to date once since the start. Before that it may be as
        # old as the last run, whatever the leader's last word says about contact.
        self._caught_up = False
        self._rounds = ReadRounds(self._catch_up, self._owner)
        #: What this server does for others while it leads, by method; the runtime puts it in.
        self.leader_methods: Mapping[str, LeaderMethod] = {}

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        """Carry out a command on the leader, wherever that is."""
        request = self._ids.begin()
        try:
            payload = wire.encode_command(command, request_id=request, actor=actor or self._actor)
            return await self.change_encoded(payload, timeout_s=timeout_s or self._hold_s)
        finally:
            self._ids.end(request)

    async def change_encoded(
        self,
        payload: bytes,
        *,
        timeout_s: float,
        failure: StoreError | ForwardError | None = None,
    ) -> Outcome:
        """Carry out an encoded command; it keeps its identity over all attempts.

        ``failure`` is how a first attempt has ended already.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        attempts = Attempts(deadline=deadline, rng=self._rng)
        while True:
            try:
                if failure is not None:
                    first, failure = failure, None
                    raise first
                return await self._change_once(payload, deadline - loop.time())
            except (StoreError, ForwardError) as error:
                code = getattr(error, "code", "")
                pause = attempts.failed(error, now=loop.time(), code=code)
            await self._store.leader_within(pause)

    async def _change_once(self, payload: bytes, timeout_s: float) -> Outcome:
        if self._store.is_leader:
            return await self._store.propose_encoded(payload, timeout_s=timeout_s)
        address = self._leader_address()
        raw = await self._pool.call(address, calls.CHANGE, payload, timeout_s=timeout_s)
        return wire.decode_outcome(raw)

    def _leader_address(self) -> tuple[str, int]:
        address = self._store.leader_address
        if self._store.is_leader or not address:
            raise NoLeader("no leader is known here")
        host, _, port = address.rpartition(":")
        return host.strip("[]"), int(port)

    async def ask(self, query: Query[T], options: Ask | None = None) -> Reply[T]:
        """Answer a query from this server's state, as fresh as asked for."""
        options = options or Ask()
        mode = options.consistency
        if mode is Consistency.STALE and not self._too_old(options):
            return await self._answer(query, options, mode)
        if mode is Consistency.STALE:
            mode = Consistency.DEFAULT
        await self._rounds.fresh()
        return await self._answer(query, options, mode)

    def ask_soon(
        self, query: Query[T], options: Ask, done: Callable[[Reply[T] | Exception], None]
    ) -> bool:
        """``ask`` by callback and without a task; False for what waits, is long or of the past."""
        if (
            options.min_index
            or options.at is not None
            or isinstance(query, History | Diff)
            or self._store.is_long(query)
        ):
            return False

        def fresh(error: Exception | None) -> None:
            if error is not None:
                done(error)
                return
            try:
                answer = self._store.answer(query)
            except Exception as failure:  # what ``ask`` would raise
                done(failure)
                return
            confirmed = mode is not Consistency.STALE
            done(self._reply(answer.value, answer.index, mode, confirmed=confirmed))

        mode = options.consistency
        if mode is Consistency.STALE and not self._too_old(options):
            fresh(None)
        else:
            mode = Consistency.DEFAULT if mode is Consistency.STALE else mode
            self._rounds.join(fresh)
        return True

    async def fresh(self) -> None:
        """Return once this server's state is no older than the call. Raises NoClusterLeader."""
        await self._rounds.fresh()

    def _too_old(self, options: Ask) -> bool:
        if options.max_stale_s is None:
            return False
        return not self._caught_up or self._store.age_s > options.max_stale_s

    async def _answer(self, query: Query[T], options: Ask, mode: Consistency) -> Reply[T]:
        if isinstance(query, History | Diff):
            await self._store.settled()
        if options.at is not None:
            answer = await self._store.gathered_at(query, options.at)
        elif options.min_index > 0 and options.wait_s > 0:
            answer = await self._store.wait(
                query, min_index=options.min_index, wait_s=options.wait_s
            )
        else:
            answer = await self._store.gathered(query)
        # What a quorum has just confirmed is as of now, unless it was held since.
        confirmed = mode is not Consistency.STALE and not options.min_index
        return self._reply(answer.value, answer.index, mode, confirmed=confirmed)

    def _reply(
        self, value: Any, index: int, mode: Consistency, *, confirmed: bool = False
    ) -> Reply[Any]:
        return Reply(
            value=value,
            index=max(1, index),
            known_leader=self._store.known_leader,
            last_contact_s=0.0 if confirmed else self.last_contact_s,
            consistency=mode,
        )

    def away_s(self) -> float:
        """For how many seconds this state may lack what others know; 0 while somebody leads."""
        return 0.0 if self._store.known_leader else self.last_contact_s

    # What the prompt face of a server offers (agent.backend.Prompt)

    @property
    def known_leader(self) -> bool:
        """Whether this server knows who leads."""
        return self._store.known_leader

    @property
    def last_contact_s(self) -> float:
        """How old this server's state may be, in seconds. Consul says here when it last heard the
        leader, which may be a moment ago though the state is far behind."""
        # Told in milliseconds, and uvloop's clock stands still for a turn of the loop: reads that
        # were confirmed together ask once.
        now = asyncio.get_running_loop().time()
        if now != self._aged_at:
            self._aged_at, self._age_s = now, self._store.age_s
        return self._age_s

    def fresh_soon(self, done: Callable[[Exception | None], None]) -> None:
        """Call back once this server's state is no older than the call."""
        self._rounds.join(done)

    def watch_patiently(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None]:
        """Call back once when the query's answer may have changed. Raises QueueFull."""
        return self._store.watch_patiently(query, on_change)

    def is_long(self, query: Query[Any]) -> bool:
        """Whether the answer must be made in slices."""
        return self._store.is_long(query)

    def index_of(self, query: Query[Any]) -> int:
        """The index of the query's answer now."""
        return self._store.state.index_of(query)

    def answer(self, query: Query[T], mode: Consistency) -> Reply[T]:
        """The query's answer now."""
        answer = self._store.answer(query)
        return self._reply(
            answer.value, answer.index, mode, confirmed=mode is not Consistency.STALE
        )

    def change_soon(
        self,
        command: Command,
        done: Callable[[Outcome | Exception], None],
        actor: Actor | None = None,
    ) -> None:
        """``change`` by callback: without a task unless the first attempt fails."""
        request = self._ids.begin()
        try:
            payload = wire.encode_command(command, request_id=request, actor=actor or self._actor)
        except EncodeError:
            self._ids.end(request)
            raise

        if not self._store.is_leader:
            ended = functools.partial(self._ended, request, done)
            self.change_encoded_soon(payload, timeout_s=self._hold_s, done=ended)
            return
        # As there, with one callback for all: this is the way of nearly every write.
        deadline = asyncio.get_running_loop().time() + self._hold_s
        told = functools.partial(self._led, request, payload, deadline, done)
        means = wire.meaning_of(command, request, actor or self._actor)
        self._store.propose_soon(payload, timeout_s=self._hold_s, done=told, means=means)

    def _led(
        self,
        request: RequestId,
        payload: bytes,
        deadline: float,
        done: Callable[[Outcome | Exception], None],
        result: Outcome | StoreError,
    ) -> None:
        if isinstance(result, StoreError):
            self._retry_soon(
                payload, deadline, result, functools.partial(self._ended, request, done)
            )
        else:
            self._ids.end(request)
            done(result)

    def _ended(
        self,
        request: RequestId,
        done: Callable[[Outcome | Exception], None],
        result: Outcome | Exception,
    ) -> None:
        self._ids.end(request)
        done(result)

    def change_encoded_soon(
        self, payload: bytes, *, timeout_s: float, done: Callable[[Outcome | Exception], None]
    ) -> None:
        """``change_encoded`` by callback: without a task unless the first attempt fails."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        told = functools.partial(self._told, payload, deadline, done)
        if self._store.is_leader:
            self._store.propose_soon(payload, timeout_s=timeout_s, done=told)
            return
        try:
            leader = self._leader_address()
        except NoLeader as error:
            told(error)
            return

        def answered(raw: bytes | ForwardError) -> None:
            try:
                told(raw if isinstance(raw, ForwardError) else wire.decode_outcome(raw))
            except DecodeError as error:
                told(error)

        if not self._pool.call_soon(
            leader, calls.CHANGE, payload, timeout_s=timeout_s, done=answered
        ):
            self._retry_soon(payload, deadline, None, done)

    def _told(
        self,
        payload: bytes,
        deadline: float,
        done: Callable[[Outcome | Exception], None],
        result: Outcome | StoreError | ForwardError,
    ) -> None:
        if isinstance(result, StoreError | ForwardError):
            self._retry_soon(payload, deadline, result, done)
        else:
            done(result)

    def _retry_soon(
        self,
        payload: bytes,
        deadline: float,
        failure: StoreError | ForwardError | None,
        done: Callable[[Outcome | Exception], None],
    ) -> None:
        stopped = ForwardError("this server stops", definite=False)
        if self._closed:
            done(stopped)
        else:
            task = self._owner.spawn(self._retry(payload, deadline, failure), name="change")
            when_ended(task, done, stopped=stopped)

    async def _retry(
        self,
        payload: bytes,
        deadline: float,
        failure: StoreError | ForwardError | None,
    ) -> Outcome | Exception:
        left_s = deadline - asyncio.get_running_loop().time()
        try:
            return await self.change_encoded(payload, timeout_s=left_s, failure=failure)
        except Exception as error:
            return error

    async def _catch_up(self) -> None:
        """Wait until this server's state is no older than this call, held across an election."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._hold_s
        attempts = Attempts(deadline=deadline, rng=self._rng)
        while True:
            try:
                if self._store.is_leader:
                    await self._store.barrier(timeout_s=deadline - loop.time())
                else:
                    index = await self._follower_index(deadline - loop.time())
                    await self._store.applied(index, timeout_s=deadline - loop.time())
                self._caught_up = True
                return
            except (StoreError, ForwardError):
                # A read changes nothing, so in the end every failure is the same to the client.
                pause = attempts.failed(NoClusterLeader(), now=loop.time())
            await self._store.leader_within(pause)

    async def _follower_index(self, timeout_s: float) -> int:
        """The leader's read index."""
        address = self._leader_address()
        raw = await self._pool.call(address, calls.READ_INDEX, b"", timeout_s=max(0.1, timeout_s))
        index, *_ = calls.unpack(raw, int)
        return int(index)

    def peek(self, query: Query[T]) -> Reply[T] | None:
        """This server's present state, once it has caught up after its start."""
        if not self._caught_up:
            return None
        answer = self._store.answer(query)
        return self._reply(answer.value, answer.index, Consistency.STALE)

    @property
    def acl_index(self) -> int:
        """The index of the last change of a token, a policy or a role."""
        return self._store.state.indexes.acl_index

    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None:
        """A promise of the store's watches."""
        return self._store.watch_once(query, on_change)

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        """Sign here when we lead, else have the leader do it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._hold_s
        attempts = Attempts(deadline=deadline, rng=self._rng)
        while True:
            try:
                if self._store.is_leader:
                    return await self._signer(csr_pem)
                raw = await self._pool.call(
                    self._leader_address(),
                    calls.SIGN_LEAF,
                    calls.pack(csr_pem),
                    timeout_s=deadline - loop.time(),
                )
                return calls.decode_leaf(raw)
            except EncodeError:
                raise  # no other attempt carries it either
            except (StoreError, ForwardError) as error:
                code = getattr(error, "code", "")
                if code.startswith("status-"):
                    raise RequestError(int(code[7:]), str(error)) from None
                pause = attempts.failed(error, now=loop.time(), code=code)
            await self._store.leader_within(pause)

    async def on_leader(self, method: str, payload: bytes) -> bytes:
        """Do it here when we lead, else have the leader do it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._hold_s
        attempts = Attempts(deadline=deadline, rng=self._rng)
        while True:
            left_s = deadline - loop.time()
            try:
                if self._store.is_leader:
                    return await self.leader_methods[method](payload, left_s)
                return await self._pool.call(
                    self._leader_address(), method, payload, timeout_s=left_s
                )
            except EncodeError:
                raise  # no other attempt carries it either
            except (StoreError, ForwardError) as error:
                code = getattr(error, "code", "")
                if code.startswith("status-"):
                    raise RequestError(int(code[7:]), str(error)) from None
                if not error.definite and method not in REPEATABLE:
                    raise  # it has no identity: another attempt might do it twice
                pause = attempts.failed(error, now=loop.time(), code=code)
            await self._store.leader_within(pause)

    async def leader(self) -> str:
        """The leader's server port as this server knows it."""
        return self._store.leader_address

    async def raft_configuration(self) -> RaftConfiguration:
        """The newest configuration this server has."""
        status = self._store.status()
        servers = tuple(
            RaftServer(node_id, address, node_id == status.leader_id, voter)
            for node_id, address, voter in status.members
        )
        return RaftConfiguration(servers, status.config_index)

    async def peers(self) -> tuple[str, ...]:
        """The voters of the newest configuration."""
        return tuple(s.address for s in (await self.raft_configuration()).servers if s.voter)

    async def close(self) -> None:
        """End what is under way."""
        self._closed = True
        self._rounds.close()
        await self._owner.close()
