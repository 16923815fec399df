"""The backend of an agent without a vote: everything goes to a server over one connection.

One server is asked as long as it answers; another after a failure. A blocked query that loses its
server is asked again for the time that is left, so a client never notices.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from agent.backend import Ask, RaftConfiguration, Reply, SignedLeaf
from agent.backend.acting import ACTING, on_behalf
from agent.backend.operations import REPEATABLE
from agent.backend.requests import RequestIds
from agent.backend.retry import Attempts
from agent.backend.rpc import calls
from agent.backend.rpc.client import RemoteFailure, RpcPool
from agent.backend.servers import ServerAddress, Servers
from agent.errors import ForwardError, NoClusterLeader, NoServers, RequestError
from agent.tasks import TaskOwner, when_ended
from raftstore import wire
from raftstore.answers import SHORT_BYTES
from raftstore.commands import Command, Outcome
from raftstore.errors import DecodeError, EncodeError, NotInHistory
from raftstore.queries import Query
from raftstore.records import Actor
from raftstore.slices import at_once, in_slices

T = TypeVar("T")

#: A server may use up its own hold time before it answers; we wait a little longer than that.
_SLACK_S = 1.0


@dataclass(frozen=True, slots=True)
class _Failed:
    """A first attempt, and how it ended."""

    server: ServerAddress | None
    error: ForwardError


class RemoteBackend:
    """Backend of an agent that is no server."""

    def __init__(
        self,
        servers: Servers,
        pool: RpcPool,
        *,
        sender: str,
        hold_s: float,
        rng: random.Random,
        node: str = "",
    ) -> None:
        """``node`` is who acts where nobody else is named."""
        self._actor = Actor(node=node)
        self._servers = servers
        self._pool = pool
        self._hold_s = hold_s
        self._rng = rng
        self._ids = RequestIds(sender)
        self._owner = TaskOwner()
        self._closed = False
        self._away_since: float | None = None

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        """Have a server carry out a command."""
        request = self._ids.begin()
        try:
            payload = wire.encode_command(command, request_id=request, actor=actor or self._actor)
            raw = await self._call(calls.CHANGE, payload, hold_s=timeout_s or self._hold_s)
            return wire.decode_outcome(raw)
        finally:
            self._ids.end(request)

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
        deadline = asyncio.get_running_loop().time() + self._hold_s
        server = self._servers.preferred()
        acting = ACTING.get()

        def ended(result: Outcome | Exception) -> None:
            self._ids.end(request)
            done(result)

        def answered(raw: bytes | ForwardError) -> None:
            if isinstance(raw, ForwardError):
                failure = _Failed(server, raw)
                self._retry_soon(payload, deadline, failure, ended, acting)
                return
            try:
                outcome: Outcome | Exception = wire.decode_outcome(raw)
            except DecodeError as error:
                outcome = error
            ended(outcome)

        if server is None or not self._pool.call_soon(
            (server.host, server.port),
            calls.CHANGE,
            payload,
            timeout_s=self._hold_s + _SLACK_S,
            done=answered,
        ):
            self._retry_soon(payload, deadline, None, ended, acting)

    def _retry_soon(
        self,
        payload: bytes,
        deadline: float,
        failure: _Failed | None,
        ended: Callable[[Outcome | Exception], None],
        acting: str | None,
    ) -> None:
        stopped = ForwardError("this agent stops", definite=False)
        if self._closed:
            ended(stopped)
        else:
            with on_behalf(acting):
                task = self._owner.spawn(self._retry(payload, deadline, failure), name="change")
            when_ended(task, ended, stopped=stopped)

    async def _retry(
        self,
        payload: bytes,
        deadline: float,
        failure: _Failed | None,
    ) -> Outcome | Exception:
        left_s = deadline - asyncio.get_running_loop().time()
        try:
            raw = await self._call(calls.CHANGE, payload, hold_s=left_s, failure=failure)
            return wire.decode_outcome(raw)
        except Exception as error:
            return error

    async def ask(self, query: Query[T], options: Ask | None = None) -> Reply[T]:
        """Have a server answer a query; it also does the waiting."""
        options = options or Ask()
        loop = asyncio.get_running_loop()
        until = loop.time() + options.wait_s

        def payload() -> bytes:
            left = max(0.0, until - loop.time()) if options.min_index else 0.0
            return calls.AskCall(query, _with_wait(options, left)).encode()

        wait_s = options.wait_s if options.min_index else 0.0
        raw = await self._call(calls.ASK, payload, hold_s=self._hold_s, wait_s=wait_s)
        return await in_slices(calls.decode_reply(query, raw))

    def ask_soon(
        self, query: Query[T], options: Ask, done: Callable[[Reply[T] | Exception], None]
    ) -> bool:
        """``ask`` by callback: without a task unless the first attempt fails, or the answer is
        long. False for what a server would hold."""
        server = self._servers.preferred()
        if options.min_index or server is None:
            return False
        acting = ACTING.get()  # what comes of it later is on the same behalf

        def answered(raw: bytes | ForwardError) -> None:
            if not isinstance(raw, ForwardError) and len(raw) <= SHORT_BYTES:
                try:
                    done(at_once(calls.decode_reply(query, raw)))
                except DecodeError as error:
                    done(error)
            elif self._closed:
                done(ForwardError("this agent stops", definite=True))
            else:
                with on_behalf(acting):
                    task = self._owner.spawn(self._go_on(query, options, server, raw), name="ask")
                when_ended(task, done, stopped=ForwardError("this agent stops", definite=True))

        return self._pool.call_soon(
            (server.host, server.port),
            calls.ASK,
            calls.AskCall(query, _with_wait(options, 0.0)).encode(),
            timeout_s=self._hold_s + _SLACK_S,
            done=answered,
        )

    async def _go_on(
        self, query: Query[T], options: Ask, server: ServerAddress, raw: bytes | ForwardError
    ) -> Reply[T] | Exception:
        """The rest of a question whose first attempt gave a long answer, or none."""
        try:
            if isinstance(raw, ForwardError):
                payload = calls.AskCall(query, _with_wait(options, 0.0)).encode()
                failure = _Failed(server, raw)
                raw = await self._call(calls.ASK, payload, hold_s=self._hold_s, failure=failure)
            return await in_slices(calls.decode_reply(query, raw))
        except Exception as error:
            return error

    async def _call(
        self,
        method: str,
        payload: bytes | Callable[[], bytes],
        *,
        hold_s: float,
        wait_s: float = 0.0,
        once: bool = False,
        failure: _Failed | None = None,
    ) -> bytes:
        """Ask one server after the other; with ``once`` only while nothing can have happened.

        ``failure`` is how a first attempt has ended already.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + hold_s + wait_s
        attempts = Attempts(deadline=deadline, rng=self._rng)
        while True:
            server = self._servers.preferred() if failure is None else failure.server
            if server is None:
                self._note_away(loop.time())
                raise NoServers
            body = payload if isinstance(payload, bytes) else payload()
            try:
                if failure is not None:
                    first, failure = failure.error, None
                    raise first
                raw = await self._pool.call(
                    (server.host, server.port),
                    method,
                    body,
                    timeout_s=max(0.1, deadline - loop.time()) + _SLACK_S,
                )
                self._away_since = None
                return raw
            except RemoteFailure as error:
                if error.code.startswith("status-"):
                    raise RequestError(int(error.code[7:]), str(error)) from None
                if error.code == "NotInHistory":
                    raise NotInHistory(str(error)) from None
                if error.code == "NoClusterLeader":
                    self._note_away(loop.time())
                    raise NoClusterLeader from None  # the server has held it long enough
                if once and not error.definite:
                    raise
                pause = attempts.failed(error, now=loop.time(), code=error.code)
            except ForwardError as error:
                self._note_away(loop.time())
                self._servers.failed(server)
                if once and not error.definite:
                    raise
                pause = attempts.failed(error, now=loop.time())
            await asyncio.sleep(pause)

    def away_s(self) -> float:
        """For how many seconds no server has answered who asked; 0 while they do."""
        if self._away_since is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._away_since

    def _note_away(self, now: float) -> None:
        if self._away_since is None:
            self._away_since = now

    def peek(self, query: Query[T]) -> Reply[T] | None:
        """Nothing is held here; who may be answered from what is kept asks the cache."""
        return None

    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None:
        """No promise without a background watch."""
        return None

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        """Have the leader sign, by way of a server."""
        raw = await self._call(calls.SIGN_LEAF, calls.pack(csr_pem), hold_s=self._hold_s)
        return calls.decode_leaf(raw)

    async def on_leader(self, method: str, payload: bytes) -> bytes:
        """Have a server pass it on to the leader."""
        once = method not in REPEATABLE
        return await self._call(method, payload, hold_s=self._hold_s, once=once)

    async def call_server(
        self, method: str, payload: bytes, *, hold_s: float, once: bool = False
    ) -> bytes:
        """Have any server carry out a method; with ``once`` it is not repeated where it may have
        happened. Raises ForwardError, RequestError."""
        return await self._call(method, payload, hold_s=hold_s, once=once)

    async def leader(self) -> str:
        """The leader as a server knows it."""
        raw = await self._call(calls.LEADER, b"", hold_s=self._hold_s)
        address, *_ = calls.unpack(raw, str)
        return str(address)

    async def raft_configuration(self) -> RaftConfiguration:
        """The configuration as a server knows it."""
        raw = await self._call(calls.RAFT_SERVERS, b"", hold_s=self._hold_s)
        return calls.decode_configuration(raw)

    async def peers(self) -> tuple[str, ...]:
        """The voters as a server knows them."""
        return tuple(s.address for s in (await self.raft_configuration()).servers if s.voter)

    async def close(self) -> None:
        """End what is under way beside what callers await themselves."""
        self._closed = True
        await self._owner.close()


def _with_wait(options: Ask, wait_s: float) -> Ask:
    return replace(options, wait_s=min(wait_s, calls.HOLD_MAX_S))
