"""Logins and logouts, as they are asked of the leader: it alone asks others who somebody is, and
writes the token."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from agent.backend.operations import LOGIN, LOGOUT, OIDC_BEGIN, OIDC_FINISH, AsksLeader
from raftstore.errors import DecodeError
from raftstore.records import Json

#: A bearer token with its metadata, and a token with all that it links to.
CALL_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who wants to come in. ``address`` and ``node`` are for the journal."""

    method: str
    bearer: str = field(repr=False)
    meta: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    node: str = ""

    def encode(self) -> bytes:
        """For the wire."""
        return json.dumps(
            {
                "method": self.method,
                "bearer": self.bearer,
                "meta": dict(self.meta),
                "address": self.address,
                "node": self.node,
            }
        ).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Logout:
    """Whose token is to end."""

    secret: str = field(repr=False)
    address: str = ""
    node: str = ""

    def encode(self) -> bytes:
        """For the wire."""
        whole = {"secret": self.secret, "address": self.address, "node": self.node}
        return json.dumps(whole).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcBegin:
    """Who wants a browser to log in. ``client_nonce`` is told again by whoever finishes."""

    method: str
    redirect: str
    client_nonce: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """For the wire."""
        return json.dumps({**asdict(self), "meta": dict(self.meta)}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcFinish:
    """What came back from the provider. ``address`` and ``node`` are for the journal."""

    method: str
    state: str = field(repr=False)
    code: str = field(repr=False)
    client_nonce: str = field(default="", repr=False)
    address: str = ""
    node: str = ""

    def encode(self) -> bytes:
        """For the wire."""
        return json.dumps(asdict(self)).encode()


def decode_oidc_begin(payload: bytes) -> OidcBegin:
    """From the wire. Raises DecodeError."""
    found = _object(payload)
    names = ("method", "redirect", "client_nonce")
    return OidcBegin(**{name: _text(found, name) for name in names}, meta=_meta(found))


def decode_oidc_finish(payload: bytes) -> OidcFinish:
    """From the wire. Raises DecodeError."""
    found = _object(payload)
    names = ("method", "state", "code", "client_nonce", "address", "node")
    return OidcFinish(**{name: _text(found, name) for name in names})


def decode_login(payload: bytes) -> Login:
    """From the wire. Raises DecodeError."""
    found = _object(payload)
    return Login(
        method=_text(found, "method"),
        bearer=_text(found, "bearer"),
        meta=_meta(found),
        address=_text(found, "address"),
        node=_text(found, "node"),
    )


def decode_logout(payload: bytes) -> Logout:
    """From the wire. Raises DecodeError."""
    found = _object(payload)
    return Logout(
        secret=_text(found, "secret"), address=_text(found, "address"), node=_text(found, "node")
    )


async def login(backend: AsksLeader, asked: Login) -> Json:
    """The token as clients see it. Raises RequestError, StoreError, ForwardError."""
    return json.loads(await backend.on_leader(LOGIN, asked.encode()))


async def begin_oidc(backend: AsksLeader, asked: OidcBegin) -> Json:
    """Where a browser has to go. Raises RequestError, StoreError, ForwardError."""
    return json.loads(await backend.on_leader(OIDC_BEGIN, asked.encode()))


async def finish_oidc(backend: AsksLeader, asked: OidcFinish) -> Json:
    """The token as clients see it. Raises RequestError, StoreError, ForwardError."""
    return json.loads(await backend.on_leader(OIDC_FINISH, asked.encode()))


async def logout(backend: AsksLeader, asked: Logout) -> None:
    """End a token that a login gave out. Raises RequestError, StoreError, ForwardError."""
    await backend.on_leader(LOGOUT, asked.encode())


def _object(payload: bytes) -> dict[str, Any]:
    if len(payload) > CALL_BYTES_MAX:
        raise DecodeError(f"more than {CALL_BYTES_MAX} bytes")
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        raise DecodeError("not JSON") from None
    if not isinstance(found, dict):
        raise DecodeError("not an object")
    return found


def _meta(found: Mapping[str, Any]) -> dict[str, str]:
    meta = found.get("meta")
    texts = meta.items() if isinstance(meta, dict) else ()
    if not isinstance(meta, dict) or not all(isinstance(value, str) for _, value in texts):
        raise DecodeError("metadata of a login are words")
    return dict(meta)


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise DecodeError(f"{name} is no text")
    return value
