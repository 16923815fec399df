"""Every endpoint, with every kind of token, against the slow model of the rules.

The rules are made from what an endpoint needs: none at all, each level for the very name and for a
prefix, a prefix taken back for the name, and everything at once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from agent.acl.rules import SCALARS
from agent.config.schema import AclConfig, AclTokens
from agent.definitions import CheckDefinition, ServiceDefinition
from agent.http.routes import ROUTES
from raftstore import definition_commands as dc
from raftstore import definitions as d
from raftstore.commands import Applied, Command, KVSet, Register, SessionCreate, SetIntention
from raftstore.entries import kinds
from raftstore.records import (
    Check,
    CheckId,
    IntentionSource,
    Node,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
    Session,
)
from tests.agent.acl import model
from tests.agent.acl.model import Stanza
from tests.agent.http import permissions as p
from tests.agent.http.permissions import MORE, SPECS, STREAMS, Need, Spec
from tests.agent.http.rig import Client, Got, Rig, make_config

MANAGEMENT = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d21"
EXPIRED = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d22"
CARRIED = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d24"
HELD = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d23"

together = pytest.mark.asyncio(loop_scope="module")


def names_of_endpoints() -> set[str]:
    return {f"{e.method} {route.name}" for route in ROUTES for e in route.endpoints}


def test_every_endpoint_is_tried() -> None:
    assert names_of_endpoints() == set(SPECS) | set(STREAMS)


# -- the state -----------------------------------------------------------------------------------


def seeds() -> Iterator[Command]:
    node = Node(name=NodeName("alpha-node"), address="10.0.0.1", datacenter="dc1")
    checks = (
        Check(
            node=node.name,
            id=CheckId("alpha-check"),
            name="alpha-check",
            status="passing",
            service_id=ServiceId("alpha-web"),
            service_name="alpha-web",
        ),
        Check(node=node.name, id=CheckId("whole-node"), name="whole-node", status="passing"),
    )
    web = Service(
        node=node.name,
        id=ServiceId("alpha-web"),
        name=ServiceName("alpha-web"),
        connect_native=True,
    )
    yield Register(node=node, service=web, checks=checks)
    db = Service(node=node.name, id=ServiceId("beta-db"), name=ServiceName("beta-db"))
    yield Register(node=node, service=db)
    yield dc.UpdateCoordinates((d.Coordinate(node=node.name, content={"Vec": [0.0] * 8}),))
    yield KVSet(key="alpha/key", value=b"v")
    yield KVSet(key="beta/key", value=b"v")
    yield SessionCreate(Session(id=p.SESSION, node=node.name, node_checks=()))
    content = {"Service": {"Service": "alpha-web"}}
    yield dc.SetPreparedQuery(d.PreparedQuery(id=p.QUERY, name="alpha-query", content=content))
    content = {"Service": {"Service": "alpha-web"}, "Token": "beta-secret"}
    yield dc.SetPreparedQuery(d.PreparedQuery(id=CARRIED, name="carried", content=content))
    yield SetIntention(
        destination=ServiceName("beta-db"),
        source=IntentionSource(
            name=ServiceName("alpha-web"), action="allow", legacy_id=p.INTENTION
        ),
    )
    entry = {"Kind": "service-defaults", "Name": "alpha-web", "Protocol": "tcp"}
    yield dc.SetConfigEntry(kinds.decode(entry))
    yield dc.SetACLPolicy(d.ACLPolicy(id=p.POLICY, name="alpha-policy", content={}))
    yield dc.SetACLRole(d.ACLRole(id=p.ROLE, name="alpha-role", content={}))
    yield dc.SetACLToken(d.ACLToken(accessor=p.TOKEN, secret="alpha-secret", content={}))
    yield dc.SetACLToken(
        d.ACLToken(accessor=p.ABSENT, secret=EXPIRED, expires_at=time.time() - 1, content={})
    )


class Held:
    """A rig, and a token whose rules are what is wanted."""

    def __init__(self, rig: Rig, client: Client, default: str) -> None:
        self.rig = rig
        self.client = client
        self.default = default
        self._numbers = itertools.count()

    async def seed(self) -> None:
        for command in seeds():
            outcome = await self.rig.backend.change(command)
            # A session that is still there is not made once more.
            assert isinstance(outcome, Applied) or isinstance(command, SessionCreate), outcome
        local = self.rig.local
        await local.register_service(ServiceDefinition(name=ServiceName("own-web")))
        await local.register_check(
            CheckDefinition(name="own-check", service_id=ServiceId("own-web"), ttl_s=9.0)
        )
        await local.register_check(CheckDefinition(name="node-check", ttl_s=9.0))

    async def use(self, stanzas: list[Stanza]) -> str:
        """Give the token these rules; the id of their policy."""
        rules = "".join(stanza.hcl() for stanza in stanzas)
        number = next(self._numbers)
        policy = d.ACLPolicy(id=f"policy-{number}", name=f"p{number}", content={"Rules": rules})
        await self.rig.backend.change(dc.SetACLPolicy(policy))
        token = d.ACLToken(accessor=HELD, secret=HELD, policies=(policy.id,), content={})
        await self.rig.backend.change(dc.SetACLToken(token))
        return policy.id

    async def ask(self, method: str, spec: Spec, secret: str) -> Got:
        headers = {"X-Consul-Token": secret} if secret else {}
        return await self.client.ask(method, spec.target, spec.payload, headers)


@pytest_asyncio.fixture(params=["deny", "allow"], scope="module", loop_scope="module")
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Held]:
    """One agent for all of them: to start one takes longer than to ask it."""
    default = request.param
    tokens = AclTokens(initial_management=MANAGEMENT)
    acl = AclConfig(enabled=True, default_policy=default, tokens=tokens)
    rig = await Rig(make_config(acl=acl)).start()
    async with Client(rig.port) as client:
        await client.ask("PUT", "/v1/event/fire/alpha-event", b"", {"X-Consul-Token": MANAGEMENT})
        yield Held(rig, client, default)
    await rig.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def held(served: Held) -> Held:
    await served.seed()
    return served


# -- rules ---------------------------------------------------------------------------------------


def stanza(need: Need, level: str, *, prefix: bool = False) -> Stanza:
    resource, _, name = need
    if resource in SCALARS:
        return Stanza(resource, "", level)
    kind, intentions = resource, ""
    if resource == "intention":
        kind, intentions, level = "service", level, "deny"
    if prefix:
        kind, name = f"{kind}_prefix", name[: len(name) // 2]
    return Stanza(kind, name, level, intentions)


def rule_sets(spec: Spec) -> Iterator[list[Stanza]]:
    """Rules that could make a difference to this request."""
    yield []
    needs = spec.resources
    if not needs:
        return
    for level in ("deny", "read", "write"):
        yield [stanza(need, level) for need in needs]
        yield [stanza(need, level, prefix=True) for need in needs]
    yield [s for need in needs for s in (stanza(need, "write", prefix=True), stanza(need, "deny"))]
    yield [s for need in needs for s in (stanza(need, "deny", prefix=True), stanza(need, "write"))]
    for left_out in needs if len(needs) > 1 else ():
        yield [stanza(need, "write") for need in needs if need != left_out]


def allowed(stanzas: list[Stanza], default: str, need: Need) -> bool:
    resource, verb, name = need
    # Of several assignments in one text the last counts.
    last = {each.kind: each for each in stanzas}
    counting = [s for s in stanzas if s.kind not in SCALARS or last[s.kind] is s]
    return model.allows(counting, default, resource, verb, name)


def denied(got: Got) -> bool:
    """Whether a permission was missing: that is always said with its reason."""
    if got.status == 409:
        return b"Permission denied" in got.body
    return "x-lictor-acl-reason" in got.headers


def check(spec: Spec, got: Got, stanzas: list[Stanza], default: str) -> None:
    ok = all(allowed(stanzas, default, need) for need in spec.needs)
    if spec.any_of:
        ok = ok and any(allowed(stanzas, default, need) for need in spec.any_of)
    told = (spec.target, stanzas, got.status, got.body[:200])
    assert denied(got) is not ok, told
    if not ok:
        return
    for word, needs in spec.shows:
        visible = all(allowed(stanzas, default, need) for need in needs)
        assert (word.encode() in got.body) is visible, (word, *told)
    for word, needs in spec.shows_any:
        visible = any(allowed(stanzas, default, need) for need in needs)
        assert (word.encode() in got.body) is visible, (word, *told)


# -- the matrix ----------------------------------------------------------------------------------

ALL = {**SPECS, **MORE}


@pytest.mark.parametrize("name", [name for name, spec in ALL.items() if not spec.open])
@together
async def test_a_token_gets_what_its_rules_give(name: str, held: Held) -> None:
    method, spec = name.split(" ")[0], ALL[name]
    for stanzas in rule_sets(spec):
        if method != "GET":
            await held.seed()  # whatever the last one changed
        await held.use(stanzas)
        got = await held.ask(method, spec, HELD)
        check(spec, got, stanzas, held.default)


@pytest.mark.parametrize("name", [name for name, spec in ALL.items() if not spec.open])
@together
async def test_other_kinds_of_tokens(name: str, held: Held) -> None:
    method, spec = name.split(" ")[0], ALL[name]
    got = await held.ask(method, spec, "")
    check(spec, got, [], held.default)
    for unknown in ("1c0ffee0-0000-4000-8000-000000000000", EXPIRED):
        got = await held.ask(method, spec, unknown)
        assert (got.status, got.body) == (403, b"ACL not found"), spec.target
    await held.seed()
    got = await held.ask(method, spec, MANAGEMENT)
    assert not denied(got), (got.status, got.body)
    for word, _ in spec.shows:
        assert word.encode() in got.body, (word, got.body[:200])


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.open])
@together
async def test_what_is_open_looks_at_no_token(name: str, held: Held) -> None:
    method, spec = name.split(" ")[0], SPECS[name]
    for secret in ("", "1c0ffee0-0000-4000-8000-000000000000", MANAGEMENT):
        got = await held.ask(method, spec, secret)
        assert not denied(got), (got.status, got.body)


async def opened(held: Held, spec: Spec, secret: str) -> Got:
    """The head of a stream, and of a watch its first event."""
    headers = {"X-Consul-Token": secret} if secret else {}
    async with Client(held.rig.port) as client, asyncio.timeout(20):
        await client.send("GET", spec.target, None, headers)
        head = (await client.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        told = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = b""
        while spec.shows and not body.endswith(b"}\n\n\r\n"):
            body += await client.reader.readuntil(b"\r\n")
    return Got(status=int(head[0].split(" ")[1]), headers=told, body=body)


@pytest.mark.parametrize("name", STREAMS)
@together
async def test_a_stream_is_for_who_may(name: str, held: Held) -> None:
    spec = STREAMS[name]
    for stanzas in rule_sets(spec):
        await held.use(stanzas)
        check(spec, await opened(held, spec, HELD), stanzas, held.default)
    check(spec, await opened(held, spec, ""), [], held.default)
    if spec.needs:
        for unknown in ("1c0ffee0-0000-4000-8000-000000000000", EXPIRED):
            assert (await opened(held, spec, unknown)).status == 403
    assert (await opened(held, spec, MANAGEMENT)).status == 200


@together
async def test_a_query_is_carried_out_with_its_own_token(held: Held) -> None:
    rules = [Stanza("service", "alpha-web", "read"), Stanza("node", "alpha-node", "read")]
    policy = await held.use(rules)
    token = d.ACLToken(accessor=CARRIED, secret="beta-secret", policies=(policy,), content={})
    await held.rig.backend.change(dc.SetACLToken(token))
    got = await held.ask("GET", Spec("/v1/query/carried/execute"), "")
    assert (got.status, b"10.0.0.1" in got.body) == (200, True)
    got = await held.ask("GET", Spec("/v1/query/carried/explain"), "")
    assert got.status == (403 if held.default == "deny" else 200), "the asker's own token counts"
    assert b"beta-secret" not in got.body
    got = await held.ask("GET", Spec("/v1/query/carried/explain"), MANAGEMENT)
    assert b"beta-secret" in got.body
    await held.rig.backend.change(dc.DeleteACLTokens((CARRIED,)))
    got = await held.ask("GET", Spec("/v1/query/carried/execute"), MANAGEMENT)
    assert (got.status, got.body) == (403, b"ACL not found")


@together
async def test_a_registration_keeps_the_token_that_was_shown(held: Held) -> None:
    await held.use([Stanza("service_prefix", "", "write")])
    for token, kept in (("", HELD), ("another", "another")):
        body = {"Name": "own-web", "Token": token}
        got = await held.ask("PUT", Spec("/v1/agent/service/register", body), HELD)
        assert got.status == 200
        definitions: Any = held.rig.local.definitions
        assert definitions[-1].token == kept


@together
async def test_a_secret_is_in_no_answer(held: Held) -> None:
    """Whatever is asked with less than acl:write."""
    reads_all = Stanza("query_prefix", "", "write")
    await held.use([Stanza("acl", "", "read"), Stanza("operator", "", "write"), reads_all])
    for name, spec in SPECS.items():
        if name.startswith("GET "):
            got: Any = await held.ask("GET", spec, HELD)
            assert MANAGEMENT.encode() not in got.body, name
            assert b"alpha-secret" not in got.body, name
            assert b"beta-secret" not in got.body, name
            assert MANAGEMENT not in json.dumps(got.headers)
