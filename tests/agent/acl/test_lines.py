"""Every line of ``reads.py`` and ``writes.py`` by itself, against the slow model of the rules.

Over HTTP a route's own word often refuses before a query's line is reached, so that a line which
says too little would not be noticed there; at the server port nothing stands before it. What each
needs is written down here once more, by hand.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from agent.acl.agent_tokens import AgentTokens
from agent.acl.caller import Caller, Denied
from agent.acl.guard import Guard
from agent.acl.reads import READS
from agent.acl.resolver import ServerResolver
from agent.acl.rules import SCALARS
from agent.acl.writes import WRITES
from agent.config.schema import AclConfig, AclTokens
from raftstore import catalog_queries as cq
from raftstore import commands as c
from raftstore import definition_commands as dc
from raftstore import definition_queries as dq
from raftstore import definitions as d
from raftstore import dns_queries as nq
from raftstore import mesh_queries as mq
from raftstore import queries as q
from raftstore import records as r
from raftstore.definitions import secret_hash
from raftstore.entries import kinds
from raftstore.restore_queries import GetRestore
from raftstore.revocations import DropRevocations, ListRevocations, RevokeLeaf
from raftstore.signing_requests import GetSigningRequest, OpenSigningRequest
from raftstore.virtual_commands import EnableVirtualAddresses
from tests.agent.acl.model import Stanza
from tests.agent.acl.test_resolver import policy, token
from tests.agent.http import permissions as p
from tests.agent.http.permissions import KEY, NODE, OTHER_KEY, TO_DB, TO_DB_READ, WEB, Need
from tests.agent.http.rig import StateBackend
from tests.agent.http.test_acl_matrix import allowed, seeds, stanza

SECRET = "s"
ALPHA, WEB_NAME = r.NodeName("alpha-node"), r.ServiceName("alpha-web")
ACL_READ, ACL_WRITE = ("acl", "read", ""), ("acl", "write", "")
OPERATOR, OPERATOR_WRITE = ("operator", "read", ""), ("operator", "write", "")
MESH, MESH_WRITE = ("mesh", "read", ""), ("mesh", "write", "")
WEB_WRITE, NODE_WRITE = ("service", "write", "alpha-web"), ("node", "write", "alpha-node")
KEY_WRITE = ("key", "write", "alpha/key")
SESSION_READ, SESSION_WRITE = ("session", "read", "alpha-node"), ("session", "write", "alpha-node")
QUERY_READ, QUERY_WRITE = ("query", "read", "alpha-query"), ("query", "write", "alpha-query")
CARRIED_READ = ("query", "read", "carried")
FROM_WEB_READ = ("intention", "read", "alpha-web")

#: Of each group one is needed.
Groups = tuple[tuple[Need, ...], ...]


def every(*needs: Need) -> Groups:
    return tuple((need,) for need in needs)


@dataclass(frozen=True)
class Line:
    """``shows`` are words that are in an answer exactly for those who have what stands beside."""

    needs: Groups = ()
    shows: tuple[tuple[str, Groups], ...] = ()

    @property
    def resources(self) -> list[Need]:
        groups = [*self.needs, *(group for _, shown in self.shows for group in shown)]
        return list(dict.fromkeys(need for group in groups for need in group))


def needs(*all_of: Need) -> Line:
    return Line(every(*all_of))


OPEN = Line()
SEEN_WEB = Line(shows=(("alpha-web", every(WEB, NODE)),))
SEEN_KEYS = Line(shows=(("alpha/key", every(KEY)), ("beta/key", every(OTHER_KEY))))
SEEN_SESSION = Line(shows=((p.SESSION, every(SESSION_READ)),))
SEEN_NODE = Line(shows=(("alpha-node", every(NODE)),))
SEEN_VIRTUAL = Line(shows=(("240.0.0.", every(WEB)),))
EITHER_SIDE: Groups = ((FROM_WEB_READ, TO_DB_READ),)
SECRET_OF_TOKEN = Line(every(ACL_READ), (("alpha-secret", every(ACL_WRITE)),))


def _entry(kind: str, name: str = "alpha-web") -> q.Query[Any]:
    return dq.GetConfigEntry(kind, name)


def _steps(*operations: r.TxnOperation) -> q.Query[Any]:
    return q.ReadTransaction(operations)


_GET_KEY = r.TxnOperation(kv=r.TxnKV(verb="get", key="alpha/key"))
_GET_NODE = r.TxnOperation(node=r.TxnNode("get", r.Node(name=ALPHA)))
_GET_SERVICE = r.TxnOperation(
    service=r.TxnService(
        "get", ALPHA, r.Service(id=r.ServiceId("alpha-web"), name=r.ServiceName(""))
    )
)
_GET_CHECK = r.TxnOperation(
    check=r.TxnCheck("get", r.Check(node=ALPHA, id=r.CheckId("alpha-check")))
)
_GET_NODE_CHECK = r.TxnOperation(
    check=r.TxnCheck("get", r.Check(node=ALPHA, id=r.CheckId("whole-node")))
)
_SINCE = q.At(index=1)

ASKED: list[tuple[q.Query[Any], Line]] = [
    (q.ListNodes(), SEEN_NODE),
    (q.ListServices(), Line(shows=(("alpha-web", every(WEB)), ("beta-db", every(p.DB))))),
    (q.ServiceNodes(service=WEB_NAME), SEEN_WEB),
    (q.ServiceNodes(service=WEB_NAME, connect=True), SEEN_WEB),
    (
        q.NodeServices(ALPHA),
        Line(shows=(("10.0.0.1", every(NODE)), ("alpha-web", every(WEB, NODE)))),
    ),
    (q.HealthService(service=WEB_NAME), SEEN_WEB),
    (q.HealthService(service=WEB_NAME, connect=True), SEEN_WEB),
    (nq.HealthSample(service=WEB_NAME, most=5, seed=1), SEEN_WEB),
    (
        q.NodeChecks(ALPHA),
        Line(shows=(("alpha-check", every(NODE, WEB)), ("whole-node", every(NODE)))),
    ),
    (q.ServiceChecks(WEB_NAME), Line(shows=(("alpha-check", every(NODE, WEB)),))),
    (
        q.ChecksInState("any"),
        Line(shows=(("alpha-check", every(NODE, WEB)), ("whole-node", every(NODE)))),
    ),
    (q.KVGet("alpha/key"), needs(KEY)),
    (q.KVList(""), SEEN_KEYS),
    (q.KVKeys(""), SEEN_KEYS),
    (q.ListIntentions(), Line(shows=((p.INTENTION, EITHER_SIDE),))),
    (q.MatchIntentions("destination", ("beta-db",)), needs(TO_DB_READ)),
    (q.GetIntention(legacy_id=p.INTENTION), Line(EITHER_SIDE)),
    (q.GetCARoots(), OPEN),
    (ListRevocations(), OPEN),
    (GetRestore(), OPEN),
    (cq.CountServices(), OPEN),
    (q.GetCAConfig(), needs(OPERATOR)),
    (q.GetCAProvider(), needs(ACL_WRITE)),
    (GetSigningRequest(), needs(ACL_WRITE)),
    (q.GetSession(p.SESSION), SEEN_SESSION),
    (q.NodeSessions(ALPHA), SEEN_SESSION),
    (q.ListSessions(), SEEN_SESSION),
    (q.SessionTimers(), needs(OPERATOR)),
    (q.WhySessionEnded(p.SESSION), needs(OPERATOR)),
    (q.SessionLocks(p.SESSION), needs(OPERATOR)),
    (_steps(_GET_KEY), Line(shows=(("alpha/key", every(KEY)),))),
    (_steps(_GET_NODE), Line(shows=(("10.0.0.1", every(NODE)),))),
    (_steps(_GET_SERVICE), Line(shows=(("alpha-web", every(WEB)),))),
    (_steps(_GET_CHECK), Line(shows=(("alpha-check", every(WEB)),))),
    (_steps(_GET_NODE_CHECK), Line(shows=(("whole-node", every(NODE)),))),
    (q.GetAutopilot(), needs(OPERATOR)),
    (q.History(table="kv"), Line(every(OPERATOR), SEEN_KEYS.shows)),
    (
        q.History(table="nodes", key="alpha-node"),
        Line(((NODE_WRITE, OPERATOR),), (("10.0.0.1", every(NODE)),)),
    ),
    (q.History(table="sessions"), Line(every(OPERATOR), SEEN_SESSION.shows)),
    (q.Diff(since=_SINCE, table="kv"), Line(every(OPERATOR), SEEN_KEYS.shows)),
    (_entry("service-defaults"), needs(WEB)),
    (_entry("service-intentions"), needs(FROM_WEB_READ)),
    (_entry("ingress-gateway"), needs(WEB)),
    (_entry("exported-services", "default"), needs(OPERATOR)),
    (_entry("api-gateway"), needs(MESH)),
    (_entry("mesh", "mesh"), OPEN),
    (_entry("proxy-defaults", "global"), OPEN),
    (
        dq.ListConfigEntries("service-defaults"),
        Line(shows=(("alpha-web", every(WEB)),)),
    ),
    (dq.GetACLToken(p.TOKEN), SECRET_OF_TOKEN),
    (dq.ACLTokenBySecret(secret_hash("alpha-secret")), SECRET_OF_TOKEN),
    (dq.ListACLTokens(), SECRET_OF_TOKEN),
    (dq.ExpiringACLTokens(1e12), Line(every(ACL_READ), (("expiring-secret", every(ACL_WRITE)),))),
    (dq.GetACLPolicy(id=p.POLICY), needs(ACL_READ)),
    (dq.ListACLPolicies(), needs(ACL_READ)),
    (dq.GetACLRole(id=p.ROLE), needs(ACL_READ)),
    (dq.ListACLRoles(), needs(ACL_READ)),
    (dq.GetACLAuthMethod("m"), needs(ACL_READ)),
    (dq.ListACLAuthMethods(), needs(ACL_READ)),
    (dq.GetACLBindingRule("b"), needs(ACL_READ)),
    (dq.ListACLBindingRules(), needs(ACL_READ)),
    (dq.GetACLFact("server"), needs(ACL_WRITE)),
    (dq.GetPreparedQuery(p.QUERY), needs(QUERY_READ)),
    (dq.GetPreparedQuery(p.ABSENT), Line(shows=(("carried-secret", every(ACL_WRITE)),))),
    (dq.FindPreparedQuery("carried"), Line(shows=(("beta-secret", every(ACL_WRITE)),))),
    (
        dq.ListPreparedQueries(),
        Line(
            shows=(
                (p.QUERY, every(QUERY_READ)),
                ("carried", every(CARRIED_READ)),
                ("beta-secret", every(CARRIED_READ, ACL_WRITE)),
            )
        ),
    ),
    (dq.ListCoordinates(), SEEN_NODE),
    (dq.ListCoordinates(ALPHA), needs(NODE)),
    (dq.CoordinatesOf((ALPHA,)), SEEN_NODE),
    (cq.DumpNodes(), Line(shows=(("10.0.0.1", every(NODE)), ("alpha-web", every(NODE, WEB))))),
    (cq.DumpNode(ALPHA), Line(shows=(("10.0.0.1", every(NODE)), ("alpha-web", every(NODE, WEB))))),
    (nq.WhoHasAddress("10.0.0.1"), Line(shows=(("alpha-node", every(NODE)),))),
    (nq.GetVirtualAddress(WEB_NAME), SEEN_VIRTUAL),
    (nq.VirtualAddressAt("240.0.0.1"), SEEN_VIRTUAL),
    (nq.ListVirtualAddresses(), SEEN_VIRTUAL),
    (mq.DiscoveryChain(service=WEB_NAME, datacenter="dc1"), needs(WEB)),
    (
        mq.GatewayServices(r.ServiceName("gate")),
        Line(every(("service", "read", "gate")), (("alpha-web", every(WEB)),)),
    ),
    (
        mq.IngressHealth(WEB_NAME),
        Line(shows=(("gate-id", every(("service", "read", "gate"), NODE)),)),
    ),
    (
        mq.PlanConfigEntry("service-defaults", "alpha-web", "{}", "dc1"),
        needs(WEB_WRITE),
    ),
]

_SET_KEY = r.TxnOperation(kv=r.TxnKV(verb="set", key="alpha/key"))
_ROUTER = {
    "Kind": "service-router",
    "Name": "alpha-web",
    "Routes": [{"Destination": {"Service": "beta-db"}}],
}
_NODE = r.Node(name=ALPHA, address="10.0.0.1", datacenter="dc1")


def _check(**more: Any) -> r.Check:
    return r.Check(node=ALPHA, id=r.CheckId("new-check"), **more)


def _service(name: str, id: str) -> r.Service:
    return r.Service(node=ALPHA, id=r.ServiceId(id), name=r.ServiceName(name))


def _source(**more: Any) -> r.IntentionSource:
    return r.IntentionSource(name=WEB_NAME, action="allow", **more)


DB_WRITE, DB_READ = ("service", "write", "beta-db"), p.DB
FROM_WEB = ("intention", "write", "alpha-web")

CHANGES: list[tuple[c.Command, Line]] = [
    (c.Register(node=r.Node(name=r.NodeName("new"))), needs(("node", "write", "new"))),
    (c.Register(node=r.Node(name=ALPHA, address="10.9.9.9")), needs(NODE_WRITE)),
    (c.Register(node=_NODE), OPEN),
    (c.Register(node=_NODE, service=_service("alpha-web", "alpha-web")), needs(WEB_WRITE)),
    (
        c.Register(node=_NODE, service=_service("alpha-web", "beta-db")),
        needs(WEB_WRITE, DB_WRITE),
    ),
    (c.Register(node=_NODE, checks=(_check(),)), needs(NODE_WRITE)),
    (
        c.Register(node=_NODE, checks=(_check(service_id=r.ServiceId("beta-db")),)),
        needs(DB_WRITE),
    ),
    (c.Deregister(node=ALPHA), needs(NODE_WRITE)),
    (
        c.Deregister(node=ALPHA, service_id=r.ServiceId("alpha-web")),
        Line(((NODE_WRITE, WEB_WRITE),)),
    ),
    (
        c.Deregister(node=ALPHA, check_id=r.CheckId("alpha-check")),
        Line(((NODE_WRITE, WEB_WRITE),)),
    ),
    (c.Deregister(node=ALPHA, check_id=r.CheckId("whole-node")), needs(NODE_WRITE)),
    (c.KVSet(key="alpha/key"), needs(KEY_WRITE)),
    (c.KVDelete(key="alpha/key"), needs(KEY_WRITE)),
    (c.KVLock(key="alpha/key", session=p.SESSION), needs(KEY_WRITE)),
    (c.KVUnlock(key="alpha/key", session=p.SESSION), needs(KEY_WRITE)),
    (c.SetIntention(destination=r.ServiceName("beta-db"), source=_source()), needs(TO_DB)),
    (
        c.SetIntention(destination=WEB_NAME, source=_source(legacy_id=p.INTENTION), mode="update"),
        needs(FROM_WEB, TO_DB),
    ),
    (c.DeleteIntention(destination=r.ServiceName("beta-db"), source=WEB_NAME), needs(TO_DB)),
    (c.DeleteIntention(legacy_id=p.INTENTION), needs(TO_DB)),
    (
        c.SetCA(
            cas=0,
            config=r.CAConfig(cluster_id="u"),
            roots=(),
            provider=r.CAProviderState(root_id="r", private_key="k", root_cert="c"),
        ),
        needs(ACL_WRITE),
    ),
    (c.SetCAConfig(cas=0, config=r.CAConfig(cluster_id="u")), needs(OPERATOR_WRITE)),
    (c.NextSerial(), needs(ACL_WRITE)),
    (OpenSigningRequest("key"), needs(ACL_WRITE)),
    (c.SessionCreate(r.Session(id=p.ABSENT, node=ALPHA)), needs(SESSION_WRITE)),
    (c.SessionDestroy(p.SESSION), needs(SESSION_WRITE)),
    (c.BeginRestore(id="r", saved_index=1), needs(ACL_WRITE)),
    (c.StageRestore(id="r", part=0, data=b""), needs(ACL_WRITE)),
    (c.EndRestore(id="r"), needs(ACL_WRITE)),
    (c.SetAutopilot(config=r.AutopilotConfig()), needs(OPERATOR_WRITE)),
    (
        dc.SetConfigEntry(d.ConfigEntry(kind="service-defaults", name="alpha-web", content={})),
        needs(WEB_WRITE),
    ),
    (dc.SetConfigEntry(kinds.decode(_ROUTER)), needs(WEB_WRITE, DB_READ)),
    (
        dc.SetConfigEntry(d.ConfigEntry(kind="service-intentions", name="beta-db", content={})),
        needs(TO_DB),
    ),
    (dc.DeleteConfigEntry("service-defaults", "alpha-web"), needs(WEB_WRITE)),
    (dc.DeleteConfigEntry("service-intentions", "beta-db"), needs(TO_DB)),
    (dc.DeleteConfigEntry("proxy-defaults", "global"), needs(OPERATOR_WRITE)),
    (dc.DeleteConfigEntry("ingress-gateway", "gate"), needs(OPERATOR_WRITE)),
    (dc.DeleteConfigEntry("mesh", "mesh"), needs(MESH_WRITE)),
    (dc.SetACLToken(d.ACLToken(accessor="a", secret="b")), needs(ACL_WRITE)),
    (dc.DeleteACLTokens(("a",)), needs(ACL_WRITE)),
    (dc.SetACLPolicy(d.ACLPolicy(id="a", name="a")), needs(ACL_WRITE)),
    (dc.DeleteACLPolicy("a"), needs(ACL_WRITE)),
    (dc.SetACLRole(d.ACLRole(id="a", name="a")), needs(ACL_WRITE)),
    (dc.DeleteACLRole("a"), needs(ACL_WRITE)),
    (dc.SetACLAuthMethod(d.ACLAuthMethod(name="a")), needs(ACL_WRITE)),
    (dc.DeleteACLAuthMethod("a"), needs(ACL_WRITE)),
    (dc.SetACLBindingRule(d.ACLBindingRule(id="a", auth_method="a")), needs(ACL_WRITE)),
    (dc.DeleteACLBindingRule("a"), needs(ACL_WRITE)),
    (dc.BootstrapACL(d.ACLToken(accessor="a", secret="b")), needs(ACL_WRITE)),
    (dc.SetACLFact(d.ACLFact(name="server", secret="b")), needs(ACL_WRITE)),
    (
        dc.SetPreparedQuery(d.PreparedQuery(id=p.QUERY, name="new-query", content={})),
        needs(QUERY_WRITE, ("query", "write", "new-query")),
    ),
    (dc.DeletePreparedQuery(p.QUERY), needs(QUERY_WRITE)),
    (dc.UpdateCoordinates((d.Coordinate(node=ALPHA, content={}),)), needs(NODE_WRITE)),
    (EnableVirtualAddresses(), needs(ACL_WRITE)),
    (RevokeLeaf(d.RevokedLeaf(id="1", serial="0a"), 1.0), needs(OPERATOR_WRITE)),
    (DropRevocations(("1",)), needs(OPERATOR_WRITE)),
    # The guard looks at its steps; as a whole it is for the servers.
    (c.Transaction((_SET_KEY,)), needs(ACL_WRITE)),
]


def test_every_line_is_tried() -> None:
    assert {type(query) for query, _ in ASKED} == set(READS)
    assert {type(command) for command, _ in CHANGES} | {c.KVDeleteTree} == set(WRITES)


# -- the state -----------------------------------------------------------------------------------


def more_seeds() -> Iterator[c.Command]:
    yield EnableVirtualAddresses()
    yield from seeds()
    gate = r.Service(
        node=ALPHA, id=r.ServiceId("gate-id"), name=r.ServiceName("gate"), kind="ingress-gateway"
    )
    yield c.Register(node=_NODE, skip_node_update=True, service=gate)
    listener = {"Port": 8080, "Protocol": "tcp", "Services": [{"Name": "alpha-web"}]}
    entry = {"Kind": "ingress-gateway", "Name": "gate", "Listeners": [listener]}
    yield dc.SetConfigEntry(kinds.decode(entry))
    content = {"Service": {"Service": "alpha-web"}, "Token": "carried-secret"}
    yield dc.SetPreparedQuery(d.PreparedQuery(id=p.ABSENT, name="", content=content))
    yield dc.SetACLToken(
        d.ACLToken(accessor="soon", secret="expiring-secret", expires_at=1e9, content={})
    )


class Asked:
    """A state, and somebody whose rules are what is wanted."""

    def __init__(self, default: str) -> None:
        self.default = default
        self.backend = StateBackend()
        for command in more_seeds():
            self.backend.apply(command, None)
        self.backend.apply(token(SECRET, "p1"), None)
        config = AclConfig(enabled=True, default_policy=default)
        tokens = AgentTokens(AclTokens())
        self.resolver = ServerResolver(
            self.backend, config, tokens, node="n1", datacenter="dc1", unix_clock=lambda: 0.0
        )
        self.guard = Guard(self.backend, self.resolver, key_list_policy=False, dry_run=False)

    def with_rules(self, stanzas: list[Stanza]) -> Caller:
        self.backend.apply(policy(1, "".join(each.hcl() for each in stanzas)), None)
        caller = self.resolver.now(SECRET)
        assert caller is not None
        return caller


@pytest.fixture(scope="module", params=["deny", "allow"])
def asked(request: pytest.FixtureRequest) -> Asked:
    return Asked(request.param)


def rule_sets(line: Line) -> Iterator[list[Stanza]]:
    """Rules that could make a difference."""
    yield []
    for level in ("deny", "read", "write"):
        yield [stanza(need, level) for need in line.resources]
        yield [stanza(need, level, prefix=True) for need in line.resources]
    for need in line.resources:
        yield [stanza(need, "write")]
        if need[0] not in SCALARS:
            # Whoever sees all of one kind is not looked at one by one; that is not all there is.
            yield [Stanza(f"{need[0]}_prefix", "", "read")] if need[0] != "intention" else []
        yield [stanza(other, "write") for other in line.resources if other != need]
        yield [stanza(other, "deny" if other == need else "write") for other in line.resources]


def met(groups: Groups, stanzas: list[Stanza], default: str) -> bool:
    return all(any(allowed(stanzas, default, need) for need in group) for group in groups)


def told(value: Any) -> str:
    """All of an answer, secrets too."""
    if isinstance(value, tuple | list):
        return " ".join(map(told, value))
    if isinstance(value, dict):
        return " ".join(map(told, itertools.chain.from_iterable(value.items())))
    fields = getattr(type(value), "__dataclass_fields__", None)
    return str(value) if fields is None else told([getattr(value, name) for name in fields])


def named(value: Any) -> str:
    return type(value).__name__


@pytest.mark.parametrize(("query", "line"), ASKED, ids=named)
def test_a_query_gives_what_the_rules_give(asked: Asked, query: q.Query[Any], line: Line) -> None:
    for stanzas in rule_sets(line):
        caller = asked.with_rules(stanzas)
        reply = asked.backend.peek(query)
        assert reply is not None
        try:
            answer = asked.guard.answer(caller, query, reply)
        except Denied:
            assert not met(line.needs, stanzas, asked.default), stanzas
            continue
        assert met(line.needs, stanzas, asked.default), stanzas
        for word, needed in line.shows:
            assert word in told(reply.value), "there is something to be seen"
            seen = word in told(answer.value)
            assert seen is met(needed, stanzas, asked.default), (word, stanzas)


@pytest.mark.parametrize(("command", "line"), CHANGES, ids=named)
def test_a_command_is_refused_where_the_rules_do_not_give_it(
    asked: Asked, command: c.Command, line: Line
) -> None:
    for stanzas in rule_sets(line):
        caller = asked.with_rules(stanzas)
        try:
            asked.guard.may_change(caller, command)
            given = True
        except Denied:
            given = False
        assert given is met(line.needs, stanzas, asked.default), stanzas


@pytest.mark.parametrize(
    ("stanzas", "given"),
    [
        ([], None),
        ([Stanza("key_prefix", "alpha/", "write")], True),
        ([Stanza("key_prefix", "alpha/", "read")], False),
        ([Stanza("key_prefix", "alpha/", "write"), Stanza("key", "alpha/key", "read")], False),
        ([Stanza("key_prefix", "alpha/", "write"), Stanza("key_prefix", "alpha/k", "deny")], False),
        ([Stanza("key", "alpha/", "write")], None),
    ],
)
def test_a_tree_is_deleted_by_who_may_write_all_of_it(
    asked: Asked, stanzas: list[Stanza], given: bool | None
) -> None:
    """None: as the default says, for no rule speaks of all keys below."""
    caller = asked.with_rules(stanzas)
    try:
        asked.guard.may_change(caller, c.KVDeleteTree(prefix="alpha/"))
        found = True
    except Denied:
        found = False
    assert found is (asked.default == "allow" if given is None else given)
