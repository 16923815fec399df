"""Strategies of commands and queries that meet: few names, so that they hit the same things."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from raftstore import commands as c
from raftstore import definition_commands as dc
from raftstore import definition_queries as dq
from raftstore import definitions as d
from raftstore import queries as q
from raftstore import records as r
from raftstore.state.definitions import secret_hash

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
        st.just(c.NextSerial()),
    )


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
        name=names,
        session=st.sampled_from(["", "sess"]),
        template=st.booleans(),
    )
    coordinates = st.builds(
        d.Coordinate,
        node=st.sampled_from(NODES),
        segment=st.sampled_from(["", "a"]),
        content=content,
    )
    kinds, labels = st.sampled_from(["k1", "k2"]), st.sampled_from(["a", "b"])
    entries = st.builds(d.ConfigEntry, kind=kinds, name=labels, content=content)
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
    )


#: A comparison with an index a few entries back, resolved when the command is applied.
BACK = st.integers(0, 3)


@st.composite
def any_commands(draw: st.DrawFn, index: int) -> c.Command:
    """Any command that may be applied at ``index``; comparisons often hold."""
    recent = st.sampled_from([0, *range(max(1, index - 6), index)])
    return draw(
        st.one_of(
            catalog_commands,
            catalog_commands,
            kv_commands(st.none() | recent),
            intention_commands,
            ca_commands(recent),
            autopilot_commands(st.none() | recent),
            definition_commands(st.none() | recent),
            definition_commands(st.none() | recent),
        )
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
    c.SetIntention(destination="web", source=r.IntentionSource(name="api", action="allow")),
    c.SetIntention(
        destination="web",
        source=r.IntentionSource(name="*", action="deny", legacy_id="11111111"),
        mode="create",
    ),
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
    c.SetAutopilot(config=r.AutopilotConfig(min_quorum=1)),
    dc.SetConfigEntry(d.ConfigEntry(kind="k1", name="a", content={"Protocol": "http"})),
    dc.SetACLAuthMethod(d.ACLAuthMethod(name="m1")),
    dc.SetACLBindingRule(d.ACLBindingRule(id="1", auth_method="m1")),
    dc.SetACLToken(d.ACLToken(accessor="1", secret="s1", auth_method="m1", expires_at=10.0)),
    dc.SetACLPolicy(d.ACLPolicy(id="1", name="p")),
    dc.SetACLRole(d.ACLRole(id="1", name="p", policies=("1",))),
    dc.SetPreparedQuery(d.PreparedQuery(id="1", name="p", session="sess", template=True)),
    dc.UpdateCoordinates((d.Coordinate(node="n1", content={"Vec": [0.5]}),)),
]

#: Every query there is, over the names above.
ALL_QUERIES: list[q.Query[Any]] = [
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
    q.GetAutopilot(),
    *[dq.GetConfigEntry(kind, name) for kind in ("k1", "never") for name in ("a", "b")],
    *[dq.ListConfigEntries(kind) for kind in ("", "k1", "k2", "never")],
    *[dq.GetACLToken(accessor) for accessor in ("1", "2", "never")],
    *[dq.ACLTokenBySecret(secret_hash(secret)) for secret in ("s1", "s2", "never")],
    dq.ListACLTokens(),
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
    *[dq.FindPreparedQuery(name) for name in ("p", "pq", "pqr", "never")],
    *[dq.ListPreparedQueries(session) for session in ("", "sess", "never")],
    *[dq.ListCoordinates(r.NodeName(node)) for node in ("", "N1", "n2", "never")],
    q.History(),
    q.History(table="kv", key="a"),
    q.Diff(since=q.At()),
]
