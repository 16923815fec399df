"""What a server does for other agents: carries their requests to its own backend.

A server forwards to the leader itself, so any server will do. The exceptions are the read index
and the bootstrap view, which only make sense on the very server that is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from agent.backend import Reply
from agent.backend.operations import LEADER_METHODS
from agent.backend.rpc import calls
from agent.errors import ForwardError, NoClusterLeader
from raftstore import wire
from raftstore.commands import Outcome
from raftstore.errors import DecodeError, EncodeError
from raftstore.queries import Query
from raftstore.slices import at_once, in_slices

if TYPE_CHECKING:
    from agent.backend.local import LocalBackend
    from raftstore.store import Store

#: Answers that are turned into bytes at the same time. All take turns with one processor, so more
#: would only hold more memory.
ENCODED_AT_ONCE = 2


class RpcService:
    """Dispatches the methods of calls.py."""

    def __init__(
        self,
        backend: LocalBackend,
        store: Store,
        *,
        bootstrap_view: Callable[[], bytes],
        more: Mapping[str, Callable[[bytes, float], Awaitable[bytes]]] | None = None,
    ) -> None:
        """``more``: methods that others carry out."""
        self._backend = backend
        self._store = store
        self._bootstrap_view = bootstrap_view
        #: A frame has little more room than this; what grows beyond it is given up at once.
        self.answer_bytes_max = wire.LIMITS.answer_bytes_max
        self._encoding = asyncio.Semaphore(ENCODED_AT_ONCE)
        self._methods: dict[str, Callable[[bytes, float], Awaitable[bytes]]] = {
            calls.CHANGE: self._change,
            calls.ASK: self._ask,
            calls.READ_INDEX: self._read_index,
            calls.SIGN_LEAF: self._sign_leaf,
            calls.LEADER: self._leader,
            calls.RAFT_SERVERS: self._raft_servers,
            calls.BOOTSTRAP_VIEW: self._view,
            **{method: self._to_leader(method) for method in LEADER_METHODS},
            **(more or {}),
        }

    async def handle(self, method: str, payload: bytes, timeout_s: float) -> bytes:
        """Carry out one method. Raises what rpc/server.py turns into a failure frame."""
        if method == calls.AS:
            # Access control is off here, or was seen to before.
            _, method, payload = calls.read_as(payload)
        known = self._methods.get(method)
        if known is None:
            raise ForwardError(f"unknown method {method!r}", definite=True)
        return await known(payload, timeout_s)

    def begin(
        self,
        method: str,
        payload: bytes,
        timeout_s: float,
        done: Callable[[bytes | Exception], None],
    ) -> bool:
        """Carry out a change or a short question without a task; False for anything else."""
        if method == calls.ASK:
            return self._ask_soon(payload, done)
        if method == calls.READ_INDEX and self._store.is_leader:
            self._store.read_index_soon(
                timeout_s=timeout_s,
                done=lambda told: done(calls.pack(told) if isinstance(told, int) else told),
            )
            return True
        if method != calls.CHANGE:
            return False

        def told(outcome: Outcome | Exception) -> None:
            if not isinstance(outcome, Exception):
                try:
                    done(wire.encode_outcome(outcome))
                    return
                except EncodeError as error:
                    outcome = error
            done(outcome)

        try:
            wire.check_elements(payload)
            means = wire.decode_command(payload)  # what cannot be read must not get into the log
        except DecodeError as error:
            done(error)
            return True
        if self._store.is_leader:
            self._store.propose_soon(payload, timeout_s=timeout_s, done=told, means=means)
        else:
            self._backend.change_encoded_soon(payload, timeout_s=timeout_s, done=told)
        return True

    def _ask_soon(self, payload: bytes, done: Callable[[bytes | Exception], None]) -> bool:
        try:
            call = calls.AskCall.decode(payload)
        except DecodeError as error:
            done(error)
            return True

        def told(reply: Reply[Any] | Exception) -> None:
            if not isinstance(reply, Exception):
                steps = calls.encode_reply(call.query, reply, bytes_max=self.answer_bytes_max)
                try:
                    done(at_once(steps))
                    return
                except EncodeError as error:
                    reply = error
            done(reply)

        return self._backend.ask_soon(call.query, call.options, told)

    async def _change(self, payload: bytes, timeout_s: float) -> bytes:
        wire.check_elements(payload)
        wire.decode_command(payload)  # what cannot be read must not get into the log
        if self._store.is_leader:
            outcome = await self._store.propose_encoded(payload, timeout_s=timeout_s)
        else:
            outcome = await self._backend.change_encoded(payload, timeout_s=timeout_s)
        return wire.encode_outcome(outcome)

    async def _ask(self, payload: bytes, timeout_s: float) -> bytes:
        call = calls.AskCall.decode(payload)
        return await self.encoded(call.query, await self._backend.ask(call.query, call.options))

    async def encoded(self, query: Query[Any], reply: Reply[Any]) -> bytes:
        """An answer as bytes, a few of them at a time."""
        bytes_max = self.answer_bytes_max
        async with self._encoding:
            return await in_slices(calls.encode_reply(query, reply, bytes_max=bytes_max))

    async def _read_index(self, payload: bytes, timeout_s: float) -> bytes:
        if not self._store.is_leader:
            raise NoClusterLeader
        return calls.pack(await self._store.read_index(timeout_s=timeout_s))

    async def _sign_leaf(self, payload: bytes, timeout_s: float) -> bytes:
        csr_pem, *_ = calls.unpack(payload, str)
        return calls.encode_leaf(await self._backend.sign_leaf(csr_pem))

    def _to_leader(self, method: str) -> Callable[[bytes, float], Awaitable[bytes]]:
        async def pass_on(payload: bytes, timeout_s: float) -> bytes:
            return await self._backend.on_leader(method, payload)

        return pass_on

    async def _leader(self, payload: bytes, timeout_s: float) -> bytes:
        return calls.pack(await self._backend.leader())

    async def _raft_servers(self, payload: bytes, timeout_s: float) -> bytes:
        return calls.encode_configuration(await self._backend.raft_configuration())

    async def _view(self, payload: bytes, timeout_s: float) -> bytes:
        return self._bootstrap_view()
