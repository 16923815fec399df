"""Every method of the server port, with every kind of token."""

from __future__ import annotations

from typing import Any

import pytest

from agent.acl.caller import Denied, Need
from agent.acl.rules import SCALARS, Level
from agent.acl.served import OPEN_METHODS, PLAIN_METHODS, RESOLVE_TOKEN, GuardedService, own_need
from agent.backend import Ask
from agent.backend.archive_transfers import ARCHIVE_METHODS
from agent.backend.operations import (
    BOOTSTRAP_ACL,
    LEADER_METHODS,
    RENEW_SESSION,
    UPDATE_COORDINATE,
)
from agent.backend.rpc import calls
from agent.connect import ca
from agent.errors import RequestError
from agent.parts.access import needs_of_payloads
from proxy.spiffe import Kind, SpiffeId
from raftstore.codec import codec_for
from raftstore.commands import KVSet, Register, SessionCreate
from raftstore.definition_commands import SetACLToken
from raftstore.definitions import ACLToken, Coordinate
from raftstore.queries import KVGet
from raftstore.records import Node, NodeName, Session
from raftstore.wire import RequestId, encode_command
from tests.agent.acl.test_guard import SECRET, Setting

SESSION = "5e551000-0000-4000-8000-00000000000a"
EXPIRED = "expired-secret"
TRUST = "11111111-2222-4333-8444-555555555555.consul"


def signing(identity: SpiffeId) -> bytes:
    return calls.pack(ca.make_csr(ca.generate_key(), identity))


#: Methods whose need depends on what they carry: the payload, and what it needs.
BY_PAYLOAD: dict[str, tuple[bytes, Need]] = {
    calls.CHANGE: (
        encode_command(KVSet(key="web", value=b"v"), request_id=RequestId("r", 1, 0)),
        Need("key", Level.WRITE, "web"),
    ),
    calls.ASK: (
        calls.AskCall(KVGet("web"), Ask()).encode(),
        Need("key", Level.READ, "web"),
    ),
    RENEW_SESSION: (calls.pack(SESSION), Need("session", Level.WRITE, "web")),
    UPDATE_COORDINATE: (
        codec_for(Coordinate).encode(Coordinate(node=NodeName("web"), content={})),
        Need("node", Level.WRITE, "web"),
    ),
    calls.SIGN_LEAF: (
        signing(SpiffeId.service(TRUST, "dc1", "web")),
        Need("service", Level.WRITE, "web"),
    ),
    calls.AGENT_CERTIFICATE: (
        signing(SpiffeId(kind=Kind.AGENT, trust_domain=TRUST, datacenter="dc1", name="web")),
        Need("node", Level.WRITE, "web"),
    ),
}
#: For those who may do everything with access control.
ARCHIVES = dict.fromkeys(ARCHIVE_METHODS, (b"", Need("acl", Level.WRITE)))
GUARDED: dict[str, tuple[bytes, Need]] = {
    **{method: (b"", need) for method, need in PLAIN_METHODS.items()},
    **BY_PAYLOAD,
    **ARCHIVES,
    "of-a-later-release": (b"", Need("acl", Level.WRITE)),
}


class Servant:
    """Says what was passed on."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def handle(self, method: str, payload: bytes, timeout_s: float) -> bytes:
        self.methods.append(method)
        return b"\xc0"

    async def encoded(self, query: Any, reply: Any) -> bytes:
        self.methods.append(calls.ASK)
        return b"\xc0"


class Port:
    def __init__(self, rules: str = "") -> None:
        self.setting = Setting(rules)
        old = ACLToken(accessor="e", secret=EXPIRED, expires_at=-1.0, content={})
        self.setting.backend.apply(SetACLToken(old), None)
        node = Node(name=NodeName("web"), address="10.0.0.1")
        self.setting.backend.apply(Register(node=node), None)
        session = Session(id=SESSION, node=NodeName("web"), node_checks=())
        self.setting.backend.apply(SessionCreate(session), None)
        self.servant = Servant()
        self.service = GuardedService(
            self.servant,
            self.setting.guard,
            self.setting.resolver,
            default_allow=False,
            more=needs_of_payloads(),
        )

    async def passes(self, secret: str, method: str, payload: bytes) -> bool:
        if secret:
            method, payload = calls.AS, calls.write_as(secret, method, payload)
        try:
            await self.service.handle(method, payload, 5.0)
        except Denied:
            assert not self.servant.methods
            return False
        assert self.servant.methods
        return True


def rule(need: Need, level: Level) -> str:
    word = level.name.lower()
    if need.resource in SCALARS:
        return f'{need.resource} = "{word}"'
    return f'{need.resource} "{need.name}" {{ policy = "{word}" }}'


def test_every_method_is_tried() -> None:
    named = {
        value
        for name, value in vars(calls).items()
        if name.isupper() and isinstance(value, str) and value != calls.AS
    }
    assert {*named, *LEADER_METHODS, *ARCHIVE_METHODS} <= {*GUARDED, *OPEN_METHODS}
    assert not set(GUARDED) & OPEN_METHODS


@pytest.mark.parametrize("method", GUARDED)
@pytest.mark.parametrize("level", [None, Level.DENY, Level.READ, Level.WRITE])
async def test_a_method_is_for_who_may(method: str, level: Level | None) -> None:
    payload, need = GUARDED[method]
    port = Port("" if level is None else rule(need, level))
    may = level is not None and level >= need.verb
    assert await port.passes(SECRET, method, payload) is may


@pytest.mark.parametrize("method", GUARDED)
async def test_other_kinds_of_tokens_get_nothing_at_the_server_port(method: str) -> None:
    payload, need = GUARDED[method]
    port = Port(rule(need, Level.WRITE))
    assert not await port.passes("", method, payload)
    for secret in ("unknown", EXPIRED):
        with pytest.raises(RequestError, match="ACL not found"):
            await port.passes(secret, method, payload)
    assert not port.servant.methods
    await port.setting.keeper.ensure()
    assert await port.passes(port.setting.resolver.server_secret, method, payload)


@pytest.mark.parametrize("method", sorted(OPEN_METHODS))
async def test_what_is_open_looks_at_no_token_at_the_server_port(method: str) -> None:
    for secret in ("", "unknown", SECRET):
        assert await Port().passes(secret, method, b"")


async def test_the_trust_domain_is_told_to_everybody() -> None:
    for secret in ("", SECRET):
        assert await Port().passes(secret, calls.AGENT_CERTIFICATE, calls.pack(""))


async def test_a_token_within_a_token_gives_nothing() -> None:
    port = Port(rule(Need("acl", Level.WRITE), Level.WRITE))
    inner = calls.write_as(SECRET, RESOLVE_TOKEN, calls.pack(SECRET))
    assert not await port.passes("", "whatever", inner)
    with pytest.raises(RequestError, match="ACL not found"):
        await port.passes("unknown", calls.AS, inner)


def test_what_an_agent_has_the_leader_do_by_itself() -> None:
    payload, need = BY_PAYLOAD[UPDATE_COORDINATE]
    assert own_need(UPDATE_COORDINATE, payload) == need
    assert own_need(BOOTSTRAP_ACL, b"") == Need("acl", Level.WRITE)
