"""The server port's way past the guard: what other agents ask, with the token they ask with.

Wraps the servant of calls. A request without a token is the anonymous token's; one with the
servers' own secret was looked at by the server that passes it on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from agent.acl.authorizer import READ, WRITE
from agent.acl.caller import Caller, Need, same_secret
from agent.acl.grants import ResolvedToken
from agent.acl.guard import Guard, Undeclared
from agent.acl.reads import visible_results
from agent.acl.resolver import ServerResolver
from agent.backend.coordinates import decode_coordinate
from agent.backend.operations import (
    AUTOPILOT_STATE,
    BOOTSTRAP_ACL,
    CONFIGURE_CA,
    INSTALL_CA,
    LEADER_METHODS,
    LOGIN,
    LOGOUT,
    OIDC_BEGIN,
    OIDC_FINISH,
    REMOVE_SERVER,
    RENEW_SESSION,
    REQUEST_CA,
    SESSION_CLOCK,
    TRANSFER_LEADERSHIP,
    UPDATE_COORDINATE,
)
from agent.backend.rpc import calls
from agent.backend.sessions import read_id
from raftstore import wire
from raftstore.codec import codec_for
from raftstore.commands import Applied, Outcome, Transaction
from raftstore.queries import GetSession, Query
from raftstore.records import Actor, TxnAnswer

#: Asks a server who shows a secret.
RESOLVE_TOKEN = "resolve-token"  # noqa: S105  # a method's name
TOKEN_BYTES_MAX = 4 * 1024 * 1024

#: What needs no permission: where servers are, and what decides by itself.
OPEN_METHODS = frozenset(
    {
        *calls.WITHOUT_TOKEN,
        BOOTSTRAP_ACL,
        LOGIN,
        LOGOUT,
        OIDC_BEGIN,
        OIDC_FINISH,
        # They carry a token of their own, which the HTTP face looks at.
        calls.HTTP,
        calls.ELSEWHERE,
    }
)

#: What methods of the leader need, whatever they carry.
PLAIN_METHODS: Mapping[str, Need] = {
    REMOVE_SERVER: Need("operator", WRITE),
    TRANSFER_LEADERSHIP: Need("operator", WRITE),
    AUTOPILOT_STATE: Need("operator", READ),
    SESSION_CLOCK: Need("operator", READ),
    CONFIGURE_CA: Need("operator", WRITE),
    REQUEST_CA: Need("operator", WRITE),
    INSTALL_CA: Need("operator", WRITE),
}
#: What is known of these is in their payload.
_READ_FIRST = frozenset({RENEW_SESSION, UPDATE_COORDINATE})

_RESOLVED = codec_for(ResolvedToken)
_ANSWER = codec_for(TxnAnswer)
_MANAGEMENT = Need("acl", WRITE)


def check_methods() -> None:
    """Refuse to start with a method of the leader of which nobody has said what it needs.

    Raises Undeclared.
    """
    known = {*PLAIN_METHODS, *_READ_FIRST, *OPEN_METHODS}
    missing = [method for method in LEADER_METHODS if method not in known]
    if missing:
        raise Undeclared(f"no permission is declared for {', '.join(missing)}")


def decode_resolved(payload: bytes) -> ResolvedToken:
    """From the wire. Raises DecodeError."""
    found: ResolvedToken = _RESOLVED.decode(payload, bytes_max=TOKEN_BYTES_MAX)
    return found


class Servant(Protocol):
    """What carries calls out (agent/backend/rpc/service.py)."""

    async def handle(self, method: str, payload: bytes, timeout_s: float) -> bytes: ...
    async def encoded(self, query: Query[Any], reply: Any) -> bytes: ...


class GuardedService:
    """Carries out what the token of a call allows."""

    def __init__(
        self,
        service: Servant,
        guard: Guard,
        resolver: ServerResolver,
        *,
        default_allow: bool,
        more: Mapping[str, Callable[[bytes], Need | None]],
    ) -> None:
        """``more``: what methods need that are not known here, from their payload."""
        self._service = service
        self._guard = guard
        self._resolver = resolver
        self._default_allow = default_allow
        self._needs: Mapping[str, Callable[[bytes], Need | None]] = {
            **{method: _always(need) for method, need in PLAIN_METHODS.items()},
            RENEW_SESSION: self._session,
            UPDATE_COORDINATE: _coordinate,
            **more,
        }

    async def handle(self, method: str, payload: bytes, timeout_s: float) -> bytes:
        """Carry out one method. Raises RequestError for what is denied."""
        secret = ""
        if method == calls.AS:
            secret, method, payload = calls.read_as(payload)
        if method in OPEN_METHODS:
            return await self._service.handle(method, payload, timeout_s)
        if method == RESOLVE_TOKEN:
            return await self._resolve(payload)
        caller = await self._resolver.find(secret)
        if same_secret(secret, self._resolver.server_secret):
            return await self._service.handle(method, payload, timeout_s)
        match method:
            case calls.CHANGE:
                return await self._change(caller, payload, timeout_s)
            case calls.ASK:
                call = calls.AskCall.decode(payload)
                reply = await self._guard.ask(caller, call.query, call.options)
                return await self._service.encoded(call.query, reply)
        need = self._needs.get(method)
        # Whatever nobody has spoken of is for those who may do everything.
        found = _MANAGEMENT if need is None else need(payload)
        if found is not None:
            self._guard.require(caller, found)
        return await self._service.handle(method, payload, timeout_s)

    def begin(
        self,
        method: str,
        payload: bytes,
        timeout_s: float,
        done: Callable[[bytes | Exception], None],
    ) -> bool:
        """Nothing is done without a task here."""
        return False

    async def _change(self, caller: Caller, payload: bytes, timeout_s: float) -> bytes:
        """The command keeps the identity of its request; who acts is who shows the token."""
        wire.check_elements(payload)
        command, request_id, actor = wire.decode_command(payload)
        if isinstance(command, Transaction):
            errors = self._guard.refused_steps(caller, command)
            if errors:
                refused = Applied(0, _ANSWER.encode(TxnAnswer(errors=errors)))
                return wire.encode_outcome(refused)
        else:
            self._guard.may_change(caller, command)
        told = actor or Actor()
        if told.accessor != caller.accessor:
            payload = wire.encode_command(
                command, request_id=request_id, actor=replace(told, accessor=caller.accessor)
            )
        raw = await self._service.handle(calls.CHANGE, payload, timeout_s)
        if isinstance(command, Transaction) and not caller.authorizer.management:
            return wire.encode_outcome(_visible(caller, wire.decode_outcome(raw)))
        return raw

    def _session(self, payload: bytes) -> Need | None:
        found = self._guard.peek(GetSession(read_id(payload)))
        return None if found is None else Need("session", WRITE, found.node)

    async def _resolve(self, payload: bytes) -> bytes:
        secret, *_ = calls.unpack(payload, str)
        caller = await self._resolver.find(secret)
        found = ResolvedToken(
            caller.accessor,
            self._resolver.grants_of(secret),
            self._default_allow,
            caller.expires_at,
        )
        return _RESOLVED.encode(found)


def own_need(method: str, payload: bytes) -> Need:
    """What a method needs that an agent has the leader carry out by itself."""
    return _coordinate(payload) if method == UPDATE_COORDINATE else _MANAGEMENT


def _always(need: Need) -> Callable[[bytes], Need | None]:
    return lambda payload: need


def _coordinate(payload: bytes) -> Need:
    return Need("node", WRITE, decode_coordinate(payload).node)


def _visible(caller: Caller, outcome: Outcome) -> Outcome:
    if not isinstance(outcome, Applied):
        return outcome
    answer = wire.decode_txn_answer(outcome.value)
    kept = visible_results(caller.authorizer, answer.results)
    return replace(outcome, value=_ANSWER.encode(replace(answer, results=kept)))
