"""Strategies of commands and queries that meet: few names, so that they hit the same things."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from raftstore import commands as c
from raftstore import definition_commands as dc
from raftstore import definition_queries as dq
from raftstore import definitions as d
from raftstore import mesh_queries as mq
from raftstore import queries as q
from raftstore import records as r
from raftstore.catalog_queries import CountServices, DumpNode, DumpNodes
from raftstore.definitions import secret_hash
from raftstore.dns_queries import (
    GetVirtualAddress,
    HealthSample,
    ListVirtualAddresses,
    VirtualAddressAt,
    WhoHasAddress,
)
from raftstore.restore_queries import GetRestore
from raftstore.revocations import DropRevocations, ListRevocations, RevokeLeaf
from raftstore.signing_requests import GetSigningRequest, OpenSigningRequest
from raftstore.virtual_commands import EnableVirtualAddresses

NODES = ["n1", "N1", "n2", "n3"]
IDS = ["", "id-a", "id-b"]
NAMES = ["web", "Web", "api", "db"]
SERVICE_IDS = ["s1", "s2", "s3"]
CHECK_IDS = ["serfHealth", "c1", "c2"]
KEYS = ["a", "a/", "a/b", "a/b/c", "b", "b/x", ""]
STATES = ["passing", "warning", "critical"]
SIDES = ["web", "api", "WEB", "*"]
LEGACY = ["", "11111111", "22222222"]
TAGS = st.lists(st.sampled_from(["x", "X", "y"]), max_size=2).map(tuple)
META = st.none() | st.dictionaries(st.just("rack"), st.sampled_from(["r1", "r2"]), max_size=1)

nodes = st.builds(
    r.Node,
    name=st.sampled_from(NODES),
    id=st.sampled_from(IDS),
    address=st.sampled_from(["10.0.0.1", "10.0.0.2"]),
    meta=META,
)
proxies = st.builds(r.Proxy, destination_service_name=st.sampled_from(NAMES))
services = st.one_of(
    st.builds(
        r.Service,
        id=st.sampled_from(SERVICE_IDS),
        name=st.sampled_from(NAMES),
        tags=TAGS,
        port=st.sampled_from([0, 80]),
        connect_native=st.booleans(),
    ),
    st.builds(
        r.Service,
        id=st.sampled_from(SERVICE_IDS),
        name=st.just("proxy"),
        kind=st.just("connect-proxy"),
        proxy=proxies,
    ),
)
checks = st.builds(
    r.Check,
    id=st.sampled_from(CHECK_IDS),
    status=st.sampled_from(STATES),
    service_id=st.sampled_from(["", *SERVICE_IDS]),
)
catalog_commands: st.SearchStrategy[c.Command] = st.one_of(
    st.builds(
        c.Register,
        node=nodes,
        service=st.none() | services,
        checks=st.lists(checks, max_size=2).map(tuple),
        skip_node_update=st.booleans(),
    ),
    st.builds(
        c.Deregister,
        node=st.sampled_from(NODES),
        service_id=st.sampled_from(["", *SERVICE_IDS]),
        check_id=st.sampled_from(["", *CHECK_IDS]),
    ),
)


def kv_commands(indexes: st.SearchStrategy[int | None]) -> st.SearchStrategy[c.Command]:
    """Writes and deletes, comparing with indexes that may be current."""
    key = st.sampled_from(KEYS)
    return st.one_of(
        st.builds(
            c.KVSet,
            key=key,
            value=st.sampled_from([b"", b"1", b"2"]),
            flags=st.sampled_from([0, 7]),
            cas=indexes,
        ),
        st.builds(c.KVDelete, key=key, cas=indexes),
        st.builds(c.KVDeleteTree, prefix=key),
    )


sources = st.builds(
    r.IntentionSource,
    name=st.sampled_from(SIDES),
    action=st.sampled_from(["allow", "deny"]),
    legacy_id=st.sampled_from(LEGACY),
    legacy_update_time=st.sampled_from(["", "t1", "t2"]),
)
intention_commands: st.SearchStrategy[c.Command] = st.one_of(
    st.builds(
        c.SetIntention,
        destination=st.sampled_from(SIDES),
        source=sources,
        mode=st.sampled_from(["upsert", "create", "update"]),
    ),
    st.builds(
        c.DeleteIntention,
        destination=st.sampled_from(SIDES),
        source=st.sampled_from(SIDES),
        legacy_id=st.sampled_from(LEGACY),
    ),
)

_roots = st.lists(
    st.builds(
        r.CARoot,
        id=st.sampled_from(["r1", "r2"]),
        name=st.just("root"),
        serial_number=st.just(1),
        signing_key_id=st.just("k"),
        external_trust_domain=st.just("t"),
        not_before=st.just(""),
        not_after=st.just(""),
        root_cert=st.sampled_from(["pem1", "pem2"]),
        active=st.booleans(),
    ),
    max_size=2,
).map(tuple)
_config = st.builds(
    r.CAConfig,
    cluster_id=st.sampled_from(["", "u1", "u2"]),
    config=st.dictionaries(st.just("ttl"), st.sampled_from(["1h", "2h"]), max_size=1),
)
_provider = st.builds(
    r.CAProviderState,
    root_id=st.just("r1"),
    private_key=st.sampled_from(["k1", "k2"]),
    root_cert=st.just("pem"),
)


def ca_commands(indexes: st.SearchStrategy[int]) -> st.SearchStrategy[c.Command]:
    """Changes of the authority, comparing with indexes that may be current."""
    return st.one_of(
        st.builds(c.SetCA, cas=indexes, config=_config, roots=_roots, provider=_provider),
        st.builds(c.SetCAConfig, cas=indexes, config=_config),
        st.builds(c.NextSerial, count=st.integers(1, 3)),
        st.builds(OpenSigningRequest, st.sampled_from(["", "k1", "k3"])),
    )


SESSIONS = [f"5e551011-0000-4000-8000-00000000000{n}" for n in range(4)]
NO_SESSION = "5e551011-0000-4000-8000-00000000000f"
_session_ids = st.sampled_from([*SESSIONS, *SESSIONS, NO_SESSION, "", "short"])

sessions = st.builds(
    r.Session,
    id=st.sampled_from(SESSIONS),
    node=st.sampled_from(NODES),
    lock_delay_ns=st.sampled_from([0, 3_000_000_000, 90_000_000_000]),
    behavior=st.sampled_from(["release", "delete"]),
    ttl=st.just("10s"),
    ttl_ns=st.sampled_from([0, 10_000_000_000]),
    node_checks=st.lists(st.sampled_from(CHECK_IDS), max_size=2).map(tuple),
    service_checks=st.none() | st.just((r.ServiceCheckRef("c1"),)),
    checks=st.none() | st.just(("c2",)),
)
session_commands: st.SearchStrategy[c.Command] = st.one_of(
    st.builds(c.SessionCreate, session=sessions),
    st.builds(c.SessionDestroy, id=_session_ids),
    st.builds(
        c.KVLock,
        key=st.sampled_from(KEYS),
        session=_session_ids,
        value=st.sampled_from([b"", b"1"]),
    ),
    st.builds(
        c.KVUnlock,
        key=st.sampled_from(KEYS),
        session=_session_ids,
        value=st.sampled_from([b"", b"1"]),
    ),
)

KEY_VERBS = ["set", "cas", "lock", "unlock", "get", "get-tree", "get-or-empty", "check-index",
             "check-session", "check-not-exists", "delete", "delete-tree", "delete-cas",
             "nope"]  # fmt: skip
CATALOG_VERBS = ["get", "set", "cas", "delete", "delete-cas", "nope"]


#: How far back the index lies that an operation compares with; 0 is the index 0.
_BACK = st.integers(0, 6)
_verbs = st.sampled_from(CATALOG_VERBS)
_txn_node = st.builds(
    r.Node,
    name=st.sampled_from([*NODES, ""]),
    id=st.sampled_from(["", "1d1d1d1d-0000-4000-8000-000000000001", "bad"]),
    modify_index=_BACK,
)
_txn_service = st.builds(
    r.Service,
    id=st.sampled_from(SERVICE_IDS),
    name=st.sampled_from(["", *NAMES]),
    modify_index=_BACK,
)
_txn_check = st.builds(
    r.Check,
    node=st.sampled_from(NODES),
    id=st.sampled_from(CHECK_IDS),
    status=st.sampled_from(STATES),
    service_id=st.sampled_from(["", *SERVICE_IDS]),
    modify_index=_BACK,
)
_txn_key = st.builds(
    r.TxnKV,
    verb=st.sampled_from(KEY_VERBS),
    key=st.sampled_from(KEYS),
    value=st.sampled_from([b"", b"1"]),
    index=_BACK,
    session=_session_ids,
)
_operations = st.one_of(
    st.builds(r.TxnOperation, kv=_txn_key),
    st.builds(r.TxnOperation, kv=_txn_key),
    st.builds(r.TxnOperation, node=st.builds(r.TxnNode, verb=_verbs, node=_txn_node)),
    st.builds(
        r.TxnOperation,
        service=st.builds(
            r.TxnService, verb=_verbs, node=st.sampled_from(NODES), service=_txn_service
        ),
    ),
    st.builds(r.TxnOperation, check=st.builds(r.TxnCheck, verb=_verbs, check=_txn_check)),
    st.builds(
        r.TxnOperation,
        session=st.builds(r.TxnSession, verb=st.sampled_from(["delete", "get"]), id=_session_ids),
    ),
    st.just(r.TxnOperation()),
)
#: Short ones, so that some go through. Made once: building strategies takes longer than drawing.
_steps = st.lists(_operations, min_size=1, max_size=5)


def _at(operation: r.TxnOperation, index: int) -> r.TxnOperation:
    """The operation with its comparison turned from a distance into an index."""

    def moved(back: int) -> int:
        return max(0, index - back) if back else 0

    if operation.kv is not None:
        return r.TxnOperation(kv=replace(operation.kv, index=moved(operation.kv.index)))
    for part in ("node", "service", "check"):
        held = getattr(operation, part)
        if held is not None:
            record = getattr(held, part)
            record = replace(record, modify_index=moved(record.modify_index))
            return r.TxnOperation(**{part: replace(held, **{part: record})})
    return operation


def transactions(index: int) -> st.SearchStrategy[c.Command]:
    """Any transaction that may be applied at ``index``."""
    return _steps.map(lambda steps: c.Transaction(tuple(_at(step, index) for step in steps)))


def autopilot_commands(indexes: st.SearchStrategy[int | None]) -> st.SearchStrategy[c.Command]:
    """Changes of the autopilot's configuration."""
    config = st.builds(r.AutopilotConfig, min_quorum=st.integers(0, 2))
    return st.builds(c.SetAutopilot, config=config, cas=indexes)


def definition_commands(indexes: st.SearchStrategy[int | None]) -> st.SearchStrategy[c.Command]:
    """Changes of config entries, ACL objects, prepared queries and coordinates."""
    ids = st.sampled_from(["1", "2"])
    methods = st.sampled_from(["", "m1", "m2"])
    content = st.sampled_from([None, {"a": 1}])
    token = st.builds(
        d.ACLToken,
        accessor=ids,
        secret=st.sampled_from(["", "s1", "s2"]),
        policies=st.sampled_from([(), ("1",)]),
        auth_method=methods,
        expires_at=st.sampled_from([None, 10.0, 20.0]),
    )
    names = st.sampled_from(["", "p", "pq"])
    query = st.builds(
        d.PreparedQuery,
        id=ids,
        name=st.sampled_from(["", "p", "pq", "PQ", "1"]),
        session=st.sampled_from(["", SESSIONS[0], SESSIONS[1].upper(), "none"]),
        template=st.booleans(),
    )
    coordinates = st.builds(
        d.Coordinate,
        node=st.sampled_from(NODES),
        segment=st.sampled_from(["", "a"]),
        content=content,
    )
    kinds = st.sampled_from(["service-defaults", "service-resolver", "unknown"])
    labels = st.sampled_from(["a", "b"])
    entry_content = st.sampled_from(
        [
            {},
            {"Protocol": "http"},
            {"ConnectTimeout": 1},
            {"Redirect": {"Service": "a"}},
            {"Redirect": {"Service": "b"}},
        ]
    )
    entries = st.builds(d.ConfigEntry, kind=kinds, name=labels, content=entry_content)
    method = st.builds(d.ACLAuthMethod, name=methods, content=content)
    rule = st.builds(d.ACLBindingRule, id=ids, auth_method=methods)
    return st.one_of(
        st.builds(dc.SetConfigEntry, entry=entries, cas=indexes),
        st.builds(dc.DeleteConfigEntry, kind=kinds, name=labels, cas=indexes),
        st.builds(dc.SetACLToken, token=token, cas=indexes),
        st.builds(dc.DeleteACLTokens, accessors=st.lists(ids, max_size=2).map(tuple)),
        st.builds(dc.SetACLPolicy, policy=st.builds(d.ACLPolicy, id=ids, name=names), cas=indexes),
        st.builds(dc.DeleteACLPolicy, id=ids),
        st.builds(dc.SetACLRole, role=st.builds(d.ACLRole, id=ids, name=names), cas=indexes),
        st.builds(dc.DeleteACLRole, id=ids),
        st.builds(dc.SetACLAuthMethod, method=method, cas=indexes),
        st.builds(dc.DeleteACLAuthMethod, name=methods),
        st.builds(dc.SetACLBindingRule, rule=rule, cas=indexes),
        st.builds(dc.DeleteACLBindingRule, id=ids),
        st.builds(dc.SetPreparedQuery, query=query, cas=indexes),
        st.builds(dc.DeletePreparedQuery, id=ids),
        st.builds(dc.UpdateCoordinates, updates=st.lists(coordinates, max_size=2).map(tuple)),
        st.builds(dc.BootstrapACL, token=token, reset_index=st.integers(0, 3)),
        st.builds(dc.SetACLFact, fact=st.builds(d.ACLFact, name=ids), cas=indexes),
    )


_revoked = st.sampled_from(["1", "2"])
revocation_commands = st.one_of(
    st.builds(
        RevokeLeaf,
        entry=st.builds(
            d.RevokedLeaf,
            id=_revoked,
            serial=st.sampled_from(["", "0a:0b"]),
            uri=st.sampled_from(["", "spiffe://x.consul/ns/default/dc/dc1/svc/web"]),
            before=st.sampled_from([0.0, 5.0]),
            expires_at=st.sampled_from([0.0, 3.0, 1e9]),
        ),
        life_s=st.sampled_from([0.0, 2.0, 1e6]),
    ),
    st.builds(DropRevocations, ids=st.lists(_revoked, max_size=2).map(tuple)),
)

#: A comparison with an index a few entries back, resolved when the command is applied.
BACK = st.integers(0, 3)


@functools.cache  # building a strategy takes longer than drawing from it
def any_commands(index: int) -> st.SearchStrategy[c.Command]:
    """Any command that may be applied at ``index``; comparisons often hold."""
    recent = st.sampled_from([0, *range(max(1, index - 6), index)])
    return st.one_of(
        catalog_commands,
        catalog_commands,
        kv_commands(st.none() | recent),
        intention_commands,
        ca_commands(recent),
        session_commands,
        session_commands,
        transactions(index),
        autopilot_commands(st.none() | recent),
        st.builds(EnableVirtualAddresses),
        revocation_commands,
        definition_commands(st.none() | recent),
        definition_commands(st.none() | recent),
    )


#: Something of everything, so that a short random history finds things to change.
POPULATED: list[c.Command] = [
    c.Register(
        node=r.Node(name="n1", id="id-a", address="10.0.0.1", meta={"rack": "r1"}),
        service=r.Service(id="s1", name="web", tags=("x",), connect_native=True),
        checks=(
            r.Check(id="serfHealth", status="passing"),
            r.Check(id="c2", status="passing", service_id="s1"),
            r.Check(id="c1", status="warning", service_id="s1"),
        ),
    ),
    c.Register(
        node=r.Node(name="n2", address="10.0.0.2"),
        service=r.Service(
            id="s2",
            name="proxy",
            kind="connect-proxy",
            proxy=r.Proxy(destination_service_name="api"),
        ),
        checks=(r.Check(id="serfHealth", status="critical"),),
    ),
    c.Register(node=r.Node(name="n2", address="10.0.0.2"), service=r.Service(id="s3", name="api")),
    c.KVSet(key="a/b", value=b"1"),
    c.KVSet(key="b/x", value=b"2"),
    c.SetIntention(
        destination="web",
        source=r.IntentionSource(name="*", action="deny", legacy_id="11111111"),
        mode="create",
    ),
    c.SetIntention(destination="web", source=r.IntentionSource(name="api", action="allow")),
    c.SetCA(
        cas=0,
        config=r.CAConfig(cluster_id="u1"),
        roots=(
            r.CARoot(
                id="r1",
                name="root",
                serial_number=1,
                signing_key_id="k",
                external_trust_domain="t",
                not_before="",
                not_after="",
                root_cert="pem1",
            ),
        ),
        provider=r.CAProviderState(root_id="r1", private_key="k1", root_cert="pem"),
    ),
    c.SessionCreate(r.Session(id=SESSIONS[0], node="n1", node_checks=("serfHealth",), ttl_ns=10)),
    c.SessionCreate(r.Session(id=SESSIONS[1], node="N1", behavior="delete", checks=("c2",))),
    c.KVLock(key="a/b", session=SESSIONS[0], value=b"1"),
    c.KVLock(key="b", session=SESSIONS[1]),
    c.SetAutopilot(config=r.AutopilotConfig(min_quorum=1)),
    dc.SetConfigEntry(
        d.ConfigEntry(kind="service-defaults", name="a", content={"Protocol": "http"})
    ),
    dc.SetACLAuthMethod(d.ACLAuthMethod(name="m1")),
    dc.SetACLBindingRule(d.ACLBindingRule(id="1", auth_method="m1")),
    dc.SetACLToken(d.ACLToken(accessor="1", secret="s1", auth_method="m1", expires_at=10.0)),
    dc.SetACLPolicy(d.ACLPolicy(id="1", name="p")),
    dc.SetACLRole(d.ACLRole(id="1", name="p", policies=("1",))),
    dc.SetPreparedQuery(d.PreparedQuery(id="1", name="p", template=True)),
    dc.UpdateCoordinates((d.Coordinate(node="n1", content={"Vec": [0.5]}),)),
    RevokeLeaf(d.RevokedLeaf(id="1", serial="0a"), 1e6),
]

#: Every query there is, over the names above.
ALL_QUERIES: list[q.Query[Any]] = [
    GetRestore(),
    *[HealthSample(service="web", most=2, seed=seed) for seed in range(2)],
    *[WhoHasAddress(address) for address in ("10.0.0.1", "10.0.0.2", "10.9.9.9")],
    *[GetVirtualAddress(r.ServiceName(name)) for name in ("web", "API", "proxy", "", "never")],
    *[VirtualAddressAt(f"240.0.0.{number}") for number in (1, 2, 9)],
    ListVirtualAddresses(),
    ListRevocations(),
    GetSigningRequest(),
    q.ListNodes(),
    q.ListServices(),
    q.ListServices((("rack", "r1"),)),
    *[
        kind(service=r.ServiceName(name), tags=tags, connect=connect)
        for kind in (q.ServiceNodes, q.HealthService)
        for name in ("web", "API", "db", "proxy", "never")
        for tags in ((), ("x",))
        for connect in (False, True)
    ],
    *[kind(r.NodeName(n)) for kind in (q.NodeServices, q.NodeChecks) for n in ("n1", "N2", "no")],
    *[q.ServiceChecks(r.ServiceName(name)) for name in ("web", "API", "db", "never")],
    *[q.ChecksInState(state) for state in (*STATES, "any", "none")],
    *[q.KVGet(key) for key in (*KEYS, "never")],
    *[q.KVList(key) for key in (*KEYS, "never")],
    *[q.KVKeys(key, separator) for key in (*KEYS, "never") for separator in ("", "/")],
    q.ListIntentions(),
    q.MatchIntentions("source", ("web", "api", "*")),
    q.MatchIntentions("destination", ("web", "api", "*")),
    *[
        q.GetIntention(source=r.ServiceName(source), destination=r.ServiceName(destination))
        for source in SIDES
        for destination in SIDES
    ],
    *[q.GetIntention(legacy_id=legacy_id) for legacy_id in LEGACY[1:]],
    q.GetCARoots(),
    q.GetCAConfig(),
    q.GetCAProvider(),
    *[q.GetSession(session_id) for session_id in (*SESSIONS, NO_SESSION)],
    *[q.NodeSessions(r.NodeName(name)) for name in ("n1", "N2", "no")],
    q.ListSessions(),
    q.SessionTimers(),
    q.SessionTimers(after=12),
    q.SessionTimers(limit=1),
    *[q.SessionLocks(session_id) for session_id in (*SESSIONS, NO_SESSION)],
    q.SessionLocks(SESSIONS[0], limit=1),
    *[q.WhySessionEnded(session_id) for session_id in SESSIONS],
    *[
        q.ReadTransaction((r.TxnOperation(kv=r.TxnKV(verb=verb, key=key, session=SESSIONS[0])),))
        for verb, key in [
            *[(verb, "a/b") for verb in KEY_VERBS if verb not in ("cas", "delete-cas")],
            *[(verb, "never") for verb in ("get", "get-tree", "check-not-exists")],
        ]
    ],
    q.ReadTransaction(
        (
            r.TxnOperation(node=r.TxnNode("get", r.Node(name="n1"))),
            r.TxnOperation(service=r.TxnService("get", "n1", r.Service(id="s1", name=""))),
        )
    ),
    *[
        q.ReadTransaction((operation,))
        for operation in (
            r.TxnOperation(node=r.TxnNode("get", r.Node(name="no", id="id-a"))),
            r.TxnOperation(service=r.TxnService("set", "n2", r.Service(id="s3", name="api"))),
            r.TxnOperation(session=r.TxnSession("delete", SESSIONS[0])),
            r.TxnOperation(),
        )
    ],
    DumpNodes(),
    *[DumpNode(r.NodeName(name)) for name in ("n1", "N2", "no")],
    CountServices(),
    q.GetAutopilot(),
    *[
        dq.GetConfigEntry(kind, name)
        for kind in ("service-defaults", "service-intentions", "never")
        for name in ("a", "b")
    ],
    dq.ListConfigEntries("service-intentions"),
    *[
        mq.DiscoveryChain(service=r.ServiceName(name), datacenter="dc1", protocol=protocol)
        for name in ("a", "b", "web")
        for protocol in ("", "http")
    ],
    mq.GatewayServices(r.ServiceName("gw")),
    mq.IngressHealth(r.ServiceName("web")),
    *[mq.PlanConfigEntry("service-defaults", "a", "{}", "dc1", delete) for delete in (False, True)],
    *[dq.ListConfigEntries(kind) for kind in ("", "service-defaults", "service-resolver", "never")],
    *[dq.GetACLToken(accessor) for accessor in ("1", "2", "never")],
    *[dq.ACLTokenBySecret(secret_hash(secret)) for secret in ("s1", "s2", "never")],
    dq.ListACLTokens(),
    *[dq.GetACLFact(name) for name in ("1", "bootstrap", "never")],
    *[dq.ExpiringACLTokens(until) for until in (5.0, 10.0, 30.0)],
    *[kind(id=item) for kind in (dq.GetACLPolicy, dq.GetACLRole) for item in ("1", "never")],
    *[kind(name=name) for kind in (dq.GetACLPolicy, dq.GetACLRole) for name in ("p", "never")],
    dq.ListACLPolicies(),
    dq.ListACLRoles(),
    *[dq.GetACLAuthMethod(name) for name in ("m1", "never")],
    dq.ListACLAuthMethods(),
    *[dq.GetACLBindingRule(item) for item in ("1", "never")],
    *[dq.ListACLBindingRules(method) for method in ("", "m1", "never")],
    *[dq.GetPreparedQuery(item) for item in ("1", "never")],
    *[dq.FindPreparedQuery(name) for name in ("p", "pq", "Pqr", "1", "never")],
    *[dq.ListPreparedQueries(session) for session in ("", "sess", "never")],
    *[dq.ListCoordinates(r.NodeName(node)) for node in ("", "N1", "n2", "never")],
    dq.CoordinatesOf((r.NodeName("N2"), r.NodeName("never"), r.NodeName("n1"))),
    q.History(),
    q.History(table="kv", key="a"),
    q.Diff(since=q.At()),
]
