"""What every endpoint needs, written down once more by hand, for requests about known things.

``needs`` are permissions that all must be given, as (resource, verb, name); ``shows`` are words
that may be in an answer only for those who have the permissions beside them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

Need = tuple[str, str, str]

#: The things that there are. The agent itself is n1.
SESSION = "5e551000-0000-4000-8000-00000000000a"
QUERY = "9e551000-0000-4000-8000-00000000000b"
INTENTION = "1e551000-0000-4000-8000-00000000000c"
TOKEN = "7e551000-0000-4000-8000-00000000000d"
POLICY = "6e551000-0000-4000-8000-00000000000e"
ROLE = "4e551000-0000-4000-8000-00000000000f"
RULE = "3e551000-0000-4000-8000-000000000010"
ABSENT = "2e551000-0000-4000-8000-000000000011"


@dataclass(frozen=True)
class Spec:
    """One request. ``open`` looks at no token at all."""

    target: str
    body: Any = None
    needs: tuple[Need, ...] = ()
    #: One of these is enough (beside ``needs``).
    any_of: tuple[Need, ...] = ()
    shows: tuple[tuple[str, tuple[Need, ...]], ...] = ()
    #: The same, where one of the permissions is enough.
    shows_any: tuple[tuple[str, tuple[Need, ...]], ...] = ()
    open: bool = False
    raw: bytes = field(default=b"")

    @property
    def payload(self) -> bytes | None:
        if self.raw:
            return self.raw
        return None if self.body is None else json.dumps(self.body).encode()

    @property
    def resources(self) -> list[Need]:
        """Everything that a rule could speak of."""
        shown = [need for _, needs in (*self.shows, *self.shows_any) for need in needs]
        return list(dict.fromkeys([*self.needs, *self.any_of, *shown]))


def one(target: str, resource: str, verb: str, name: str = "", body: Any = None) -> Spec:
    return Spec(target, body, ((resource, verb, name),))


NODE = ("node", "read", "alpha-node")
WEB = ("service", "read", "alpha-web")
DB = ("service", "read", "beta-db")
KEY = ("key", "read", "alpha/key")
OTHER_KEY = ("key", "read", "beta/key")
OWN_NODE = ("node", "write", "n1")
OWN = ("service", "write", "own-web")
OWN_READ = ("service", "read", "own-web")
#: A service is seen with its node.
SEEN_WEB = (("alpha-web", (WEB, NODE)),)
TO_DB = ("intention", "write", "beta-db")
TO_DB_READ = ("intention", "read", "beta-db")


def agent_read(target: str) -> Spec:
    return one(target, "agent", "read", "n1")


def agent_write(target: str, body: Any = None) -> Spec:
    return one(target, "agent", "write", "n1", body)


_AGENT = {
    "GET /v1/agent/self": agent_read("/v1/agent/self"),
    "GET /v1/agent/host": one("/v1/agent/host", "operator", "read"),
    "GET /v1/agent/version": Spec("/v1/agent/version", open=True),
    "GET /v1/agent/members": Spec(
        "/v1/agent/members", shows=(('"n1"', (("node", "read", "n1"),)),)
    ),
    "GET /v1/agent/metrics": agent_read("/v1/agent/metrics"),
    "GET /v1/agent/connect/feeds": agent_read("/v1/agent/connect/feeds"),
    "GET /v1/agent/connect/proxy-metrics/": agent_read("/v1/agent/connect/proxy-metrics/x"),
    "GET /v1/agent/connect/proxy-edges/": agent_read("/v1/agent/connect/proxy-edges/x"),
    "PUT /v1/agent/reload": agent_write("/v1/agent/reload"),
    "PUT /v1/agent/leave": agent_write("/v1/agent/leave"),
    "PUT /v1/agent/join/": agent_write("/v1/agent/join/127.0.0.1"),
    "PUT /v1/agent/token/": agent_write("/v1/agent/token/replication", {"Token": "x"}),
    "PUT /v1/agent/force-leave/": one("/v1/agent/force-leave/gone", "operator", "write"),
    "PUT /v1/agent/maintenance": one("/v1/agent/maintenance?enable=false", *OWN_NODE),
    "GET /v1/agent/services": Spec("/v1/agent/services", shows=(("own-web", (OWN_READ,)),)),
    "GET /v1/agent/service/": one("/v1/agent/service/own-web", *OWN_READ),
    "PUT /v1/agent/service/register": one("/v1/agent/service/register", *OWN, {"Name": "own-web"}),
    "PUT /v1/agent/service/deregister/": one("/v1/agent/service/deregister/own-web", *OWN),
    "PUT /v1/agent/service/maintenance/": one(
        "/v1/agent/service/maintenance/own-web?enable=false", *OWN
    ),
    "GET /v1/agent/health/service/id/": one("/v1/agent/health/service/id/own-web", *OWN_READ),
    "GET /v1/agent/health/service/name/": one("/v1/agent/health/service/name/own-web", *OWN_READ),
    "GET /v1/agent/checks": Spec(
        "/v1/agent/checks",
        shows=(("own-check", (OWN_READ,)), ("node-check", (("node", "read", "n1"),))),
    ),
    "PUT /v1/agent/check/register": one(
        "/v1/agent/check/register", *OWN, {"Name": "own-check", "ServiceID": "own-web", "TTL": "9s"}
    ),
    "PUT /v1/agent/check/deregister/": one("/v1/agent/check/deregister/node-check", *OWN_NODE),
    "PUT /v1/agent/check/pass/": one("/v1/agent/check/pass/own-check", *OWN),
    "PUT /v1/agent/check/warn/": one("/v1/agent/check/warn/node-check", *OWN_NODE),
    "PUT /v1/agent/check/fail/": one("/v1/agent/check/fail/own-check", *OWN),
    "PUT /v1/agent/check/update/": one(
        "/v1/agent/check/update/own-check", *OWN, {"Status": "passing"}
    ),
    "GET /v1/agent/connect/ca/roots": Spec("/v1/agent/connect/ca/roots", open=True),
    "GET /v1/agent/connect/ca/leaf/": one("/v1/agent/connect/ca/leaf/own-web", *OWN),
    "PUT /v1/agent/connect/ca/leaf/:name/renew": one(
        "/v1/agent/connect/ca/leaf/own-web/renew", *OWN
    ),
    "GET /v1/agent/connect/feed/": one("/v1/agent/connect/feed/own-web", *OWN),
    "PUT /v1/agent/connect/feed/": one("/v1/agent/connect/feed/own-web", *OWN, {"Version": "1"}),
    "POST /v1/agent/connect/authorize": one(
        "/v1/agent/connect/authorize",
        "service",
        "write",
        "beta-db",
        {"Target": "beta-db", "ClientCertURI": "spiffe://x.consul/ns/default/dc/dc1/svc/alpha-web"},
    ),
}

_REGISTER = {"Node": "alpha-node", "Address": "10.0.0.1", "Datacenter": "dc1"}
_CATALOG = {
    "PUT /v1/catalog/register": Spec(
        "/v1/catalog/register",
        _REGISTER | {"Address": "10.9.9.9", "Service": {"Service": "alpha-web"}},
        (("node", "write", "alpha-node"), ("service", "write", "alpha-web")),
    ),
    "PUT /v1/catalog/deregister": Spec(
        "/v1/catalog/deregister",
        {"Node": "alpha-node", "ServiceID": "alpha-web"},
        any_of=(("node", "write", "alpha-node"), ("service", "write", "alpha-web")),
    ),
    "GET /v1/catalog/datacenters": Spec("/v1/catalog/datacenters", open=True),
    "GET /v1/catalog/nodes": Spec("/v1/catalog/nodes", shows=(("alpha-node", (NODE,)),)),
    "GET /v1/catalog/services": Spec(
        "/v1/catalog/services", shows=(("alpha-web", (WEB,)), ("beta-db", (DB,)))
    ),
    "GET /v1/catalog/service/": Spec("/v1/catalog/service/alpha-web", shows=SEEN_WEB),
    "GET /v1/catalog/connect/": Spec("/v1/catalog/connect/alpha-web", shows=SEEN_WEB),
    "GET /v1/catalog/node/": Spec("/v1/catalog/node/alpha-node", shows=SEEN_WEB),
    "GET /v1/catalog/node-services/": Spec("/v1/catalog/node-services/alpha-node", shows=SEEN_WEB),
    "GET /v1/catalog/gateway-services/": one("/v1/catalog/gateway-services/alpha-web", *WEB),
    "GET /v1/health/node/": Spec(
        "/v1/health/node/alpha-node",
        shows=(("alpha-check", (NODE, WEB)), ("whole-node", (NODE,))),
    ),
    "GET /v1/health/checks/": Spec(
        "/v1/health/checks/alpha-web", shows=(("alpha-check", (NODE, WEB)),)
    ),
    "GET /v1/health/state/": Spec("/v1/health/state/any", shows=(("alpha-check", (NODE, WEB)),)),
    "GET /v1/health/service/": Spec("/v1/health/service/alpha-web?passing", shows=SEEN_WEB),
    "GET /v1/health/connect/": Spec("/v1/health/connect/alpha-web", shows=SEEN_WEB),
    "GET /v1/health/ingress/": Spec("/v1/health/ingress/alpha-web"),
    "GET /v1/discovery/prometheus": Spec("/v1/discovery/prometheus", shows=SEEN_WEB),
    "GET /v1/coordinate/datacenters": Spec("/v1/coordinate/datacenters", open=True),
    "GET /v1/coordinate/nodes": Spec("/v1/coordinate/nodes", shows=(("alpha-node", (NODE,)),)),
    "GET /v1/coordinate/node/": one("/v1/coordinate/node/alpha-node", *NODE),
    "PUT /v1/coordinate/update": one(
        "/v1/coordinate/update",
        "node",
        "write",
        "alpha-node",
        {"Node": "alpha-node", "Coord": {"Vec": [0.0] * 8, "Error": 1.5}},
    ),
}

_STATE = {
    "GET /v1/kv/": one("/v1/kv/alpha/key", *KEY),
    "PUT /v1/kv/": Spec("/v1/kv/alpha/key", raw=b"v", needs=(("key", "write", "alpha/key"),)),
    "DELETE /v1/kv/": one("/v1/kv/alpha/key", "key", "write", "alpha/key"),
    "PUT /v1/txn": one(
        "/v1/txn",
        "key",
        "write",
        "alpha/key",
        [{"KV": {"Verb": "set", "Key": "alpha/key", "Value": "dg=="}}],
    ),
    "PUT /v1/session/create": one("/v1/session/create", "session", "write", "n1", {}),
    "PUT /v1/session/destroy/": one(
        f"/v1/session/destroy/{SESSION}", "session", "write", "alpha-node"
    ),
    "PUT /v1/session/renew/": one(f"/v1/session/renew/{SESSION}", "session", "write", "alpha-node"),
    "GET /v1/session/info/": Spec(
        f"/v1/session/info/{SESSION}", shows=((SESSION, (("session", "read", "alpha-node"),)),)
    ),
    "GET /v1/session/node/": Spec(
        "/v1/session/node/alpha-node", shows=((SESSION, (("session", "read", "alpha-node"),)),)
    ),
    "GET /v1/session/list": Spec(
        "/v1/session/list", shows=((SESSION, (("session", "read", "alpha-node"),)),)
    ),
    "GET /v1/snapshot": one("/v1/snapshot", "acl", "write"),
    "PUT /v1/snapshot": Spec("/v1/snapshot", raw=b"x", needs=(("acl", "write", ""),)),
    "PUT /v1/event/fire/": one("/v1/event/fire/alpha-event", "event", "write", "alpha-event"),
    "GET /v1/event/list": Spec(
        "/v1/event/list", shows=(("alpha-event", (("event", "read", "alpha-event"),)),)
    ),
    "GET /v1/status/leader": Spec("/v1/status/leader", open=True),
    "GET /v1/status/peers": Spec("/v1/status/peers", open=True),
    "PUT /v1/config": one(
        "/v1/config",
        "service",
        "write",
        "alpha-web",
        {"Kind": "service-defaults", "Name": "alpha-web", "Protocol": "http"},
    ),
    "GET /v1/config/": one("/v1/config/service-defaults/alpha-web", *WEB),
    "DELETE /v1/config/": one(
        "/v1/config/service-defaults/alpha-web", "service", "write", "alpha-web"
    ),
    "GET /v1/discovery-chain/": one("/v1/discovery-chain/alpha-web", *WEB),
    "POST /v1/discovery-chain/": one("/v1/discovery-chain/alpha-web", *WEB, {}),
    "GET /v1/query": Spec("/v1/query", shows=((QUERY, (("query", "read", "alpha-query"),)),)),
    "POST /v1/query": one(
        "/v1/query",
        "query",
        "write",
        "other-query",
        {"Name": "other-query", "Service": {"Service": "alpha-web"}},
    ),
    "GET /v1/query/": one(f"/v1/query/{QUERY}", "query", "read", "alpha-query"),
    "PUT /v1/query/": Spec(
        f"/v1/query/{QUERY}",
        {"Name": "alpha-query", "Service": {"Service": "alpha-web"}},
        # It is looked at before it is replaced.
        (("query", "read", "alpha-query"), ("query", "write", "alpha-query")),
    ),
    "DELETE /v1/query/": Spec(
        f"/v1/query/{QUERY}",
        needs=(("query", "read", "alpha-query"), ("query", "write", "alpha-query")),
    ),
    "GET /v1/query/:name/execute": Spec(
        "/v1/query/alpha-query/execute", shows=(("10.0.0.1", (WEB, NODE)),)
    ),
    "GET /v1/query/:name/explain": one(
        "/v1/query/alpha-query/explain", "query", "read", "alpha-query"
    ),
}

_OPERATOR = {
    "GET /v1/operator/raft/configuration": one(
        "/v1/operator/raft/configuration", "operator", "read"
    ),
    "DELETE /v1/operator/raft/peer": one("/v1/operator/raft/peer?id=x", "operator", "write"),
    "POST /v1/operator/raft/transfer-leader": one(
        "/v1/operator/raft/transfer-leader", "operator", "write"
    ),
    "GET /v1/operator/autopilot/configuration": one(
        "/v1/operator/autopilot/configuration", "operator", "read"
    ),
    "PUT /v1/operator/autopilot/configuration": one(
        "/v1/operator/autopilot/configuration", "operator", "write", "", {}
    ),
    "GET /v1/operator/autopilot/health": one("/v1/operator/autopilot/health", "operator", "read"),
    "GET /v1/operator/autopilot/state": one("/v1/operator/autopilot/state", "operator", "read"),
    "GET /v1/operator/usage": one("/v1/operator/usage", "operator", "read"),
    "GET /v1/operator/keyring": one("/v1/operator/keyring", "keyring", "read"),
    **{
        f"{method} /v1/operator/keyring": one(
            "/v1/operator/keyring", "keyring", "write", "", {"Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        )
        for method in ("POST", "PUT", "DELETE")
    },
    "GET /v1/history": Spec(
        "/v1/history?table=kv",
        needs=(("operator", "read", ""),),
        shows=(("alpha/key", (KEY,)), ("beta/key", (OTHER_KEY,))),
    ),
    "GET /v1/explain/": one("/v1/explain/acl", "operator", "read"),
    "GET /v1/openapi.json": Spec("/v1/openapi.json", open=True),
}

_CONNECT = {
    "GET /v1/connect/ca/roots": Spec("/v1/connect/ca/roots", open=True),
    "GET /v1/connect/ca/configuration": one("/v1/connect/ca/configuration", "operator", "read"),
    "PUT /v1/connect/ca/configuration": one(
        "/v1/connect/ca/configuration",
        "operator",
        "write",
        "",
        {"Provider": "consul", "Config": {}},
    ),
    "PUT /v1/connect/ca/revoke": one(
        "/v1/connect/ca/revoke", "operator", "write", "", {"Service": "beta-db"}
    ),
    "GET /v1/connect/ca/revocations": Spec("/v1/connect/ca/revocations", open=True),
    "DELETE /v1/connect/ca/revocations": one(
        "/v1/connect/ca/revocations?id=0a", "operator", "write"
    ),
    "PUT /v1/connect/ca/csr": one("/v1/connect/ca/csr", "operator", "write"),
    "PUT /v1/connect/ca/intermediate": one(
        "/v1/connect/ca/intermediate", "operator", "write", "", {"CertPEM": ""}
    ),
    "PUT /v1/connect/ca/rotate": one("/v1/connect/ca/rotate", "operator", "write"),
    "GET /v1/connect/intentions": Spec(
        "/v1/connect/intentions",
        # Whoever may see one of its sides may see an intention.
        shows_any=(("beta-db", (("intention", "read", "alpha-web"), TO_DB_READ)),),
    ),
    "GET /v1/connect/intentions/match": one(
        "/v1/connect/intentions/match?by=destination&name=beta-db", *TO_DB_READ
    ),
    "GET /v1/connect/intentions/check": one(
        "/v1/connect/intentions/check?source=alpha-web&destination=beta-db", *DB
    ),
    "GET /v1/connect/intentions/exact": Spec(
        "/v1/connect/intentions/exact?source=alpha-web&destination=beta-db",
        any_of=(("intention", "read", "alpha-web"), TO_DB_READ),
    ),
    "PUT /v1/connect/intentions/exact": one(
        "/v1/connect/intentions/exact?source=x&destination=beta-db", *TO_DB, {"Action": "allow"}
    ),
    "DELETE /v1/connect/intentions/exact": one(
        "/v1/connect/intentions/exact?source=x&destination=beta-db", *TO_DB
    ),
    "POST /v1/connect/intentions": one(
        "/v1/connect/intentions",
        *TO_DB,
        {"SourceName": "y", "DestinationName": "beta-db", "Action": "allow"},
    ),
    "GET /v1/connect/intentions/": Spec(
        f"/v1/connect/intentions/{INTENTION}",
        any_of=(("intention", "read", "alpha-web"), TO_DB_READ),
    ),
    "PUT /v1/connect/intentions/": one(
        f"/v1/connect/intentions/{INTENTION}", *TO_DB, {"Action": "deny"}
    ),
    "DELETE /v1/connect/intentions/": one(f"/v1/connect/intentions/{INTENTION}", *TO_DB),
}

_INTERNAL = {
    "GET /v1/internal/ui/nodes": Spec(
        "/v1/internal/ui/nodes", shows=(("alpha-node", (NODE,)), ("alpha-check", (NODE, WEB)))
    ),
    "GET /v1/internal/ui/node/": Spec(
        "/v1/internal/ui/node/alpha-node", shows=(("10.0.0.1", (NODE,)), *SEEN_WEB)
    ),
    "GET /v1/internal/ui/services": Spec("/v1/internal/ui/services", shows=SEEN_WEB),
    "GET /v1/internal/ui/gateway-services-nodes/": one(
        "/v1/internal/ui/gateway-services-nodes/alpha-web", *WEB
    ),
    "GET /v1/internal/ui/gateway-intentions/": one(
        "/v1/internal/ui/gateway-intentions/alpha-web", *WEB
    ),
    "GET /v1/internal/ui/service-topology/": one(
        "/v1/internal/ui/service-topology/alpha-web?kind=", *WEB
    ),
    "GET /v1/internal/ui/metrics-proxy/": Spec("/v1/internal/ui/metrics-proxy/x"),
    "GET /v1/exported-services": Spec("/v1/exported-services"),
    "GET /v1/imported-services": Spec("/v1/imported-services"),
    "GET /v1/internal/ui/exported-services": Spec("/v1/internal/ui/exported-services"),
    "GET /v1/internal/ui/catalog-overview": one(
        "/v1/internal/ui/catalog-overview", "operator", "read"
    ),
    "GET /v1/internal/federation-states": one("/v1/internal/federation-states", "operator", "read"),
    "GET /v1/internal/federation-states/mesh-gateways": Spec(
        "/v1/internal/federation-states/mesh-gateways"
    ),
    "GET /v1/internal/federation-state/": one(
        "/v1/internal/federation-state/dc1", "operator", "read"
    ),
    "POST /v1/internal/acl/authorize": Spec(
        "/v1/internal/acl/authorize",
        [{"Resource": "key", "Access": "read", "Segment": "alpha/key"}],
    ),
}


def acl_read(target: str, body: Any = None) -> Spec:
    return one(target, "acl", "read", "", body)


def acl_write(target: str, body: Any = None) -> Spec:
    return one(target, "acl", "write", "", body)


_METHOD = {"Name": "alpha-method", "Type": "jwt"}
_ACL = {
    "PUT /v1/acl/bootstrap": Spec("/v1/acl/bootstrap", open=True),
    "GET /v1/acl/replication": Spec("/v1/acl/replication", open=True),
    "GET /v1/acl/token/self": Spec("/v1/acl/token/self", open=True),
    "POST /v1/acl/login": Spec(
        "/v1/acl/login", {"AuthMethod": "none", "BearerToken": "x"}, open=True
    ),
    "POST /v1/acl/logout": Spec("/v1/acl/logout", open=True),
    "POST /v1/acl/oidc/auth-url": Spec("/v1/acl/oidc/auth-url", {}, open=True),
    "POST /v1/acl/oidc/callback": Spec("/v1/acl/oidc/callback", {}, open=True),
    "POST /v1/acl/rules/translate": Spec("/v1/acl/rules/translate", raw=b'key "a" {}'),
    "GET /v1/acl/tokens": Spec(
        "/v1/acl/tokens",
        needs=(("acl", "read", ""),),
        shows=(("alpha-secret", (("acl", "write", ""),)),),
    ),
    "GET /v1/acl/token/": Spec(
        f"/v1/acl/token/{TOKEN}",
        needs=(("acl", "read", ""),),
        shows=(("alpha-secret", (("acl", "write", ""),)),),
    ),
    "PUT /v1/acl/token": acl_write("/v1/acl/token", {}),
    "PUT /v1/acl/token/": acl_write(f"/v1/acl/token/{TOKEN}", {}),
    "DELETE /v1/acl/token/": acl_write(f"/v1/acl/token/{ABSENT}"),
    "GET /v1/acl/policies": acl_read("/v1/acl/policies"),
    "GET /v1/acl/policy/": acl_read(f"/v1/acl/policy/{POLICY}"),
    "GET /v1/acl/policy/name/": acl_read("/v1/acl/policy/name/alpha-policy"),
    "PUT /v1/acl/policy": acl_write("/v1/acl/policy", {"Name": "other-policy"}),
    "PUT /v1/acl/policy/": acl_write(f"/v1/acl/policy/{POLICY}", {"Name": "alpha-policy"}),
    "DELETE /v1/acl/policy/": acl_write(f"/v1/acl/policy/{ABSENT}"),
    "GET /v1/acl/roles": acl_read("/v1/acl/roles"),
    "GET /v1/acl/role/": acl_read(f"/v1/acl/role/{ROLE}"),
    "GET /v1/acl/role/name/": acl_read("/v1/acl/role/name/alpha-role"),
    "PUT /v1/acl/role": acl_write("/v1/acl/role", {"Name": "other-role"}),
    "PUT /v1/acl/role/": acl_write(f"/v1/acl/role/{ROLE}", {"Name": "alpha-role"}),
    "DELETE /v1/acl/role/": acl_write(f"/v1/acl/role/{ABSENT}"),
    "GET /v1/acl/templated-policies": acl_read("/v1/acl/templated-policies"),
    "GET /v1/acl/templated-policy/name/": acl_read("/v1/acl/templated-policy/name/builtin/service"),
    "POST /v1/acl/templated-policy/preview/": acl_read(
        "/v1/acl/templated-policy/preview/builtin/service", {"Name": "web"}
    ),
    "GET /v1/acl/list": acl_read("/v1/acl/list"),
    "GET /v1/acl/info/": acl_read("/v1/acl/info/x"),
    **{
        f"PUT /v1/acl/{name}": acl_write(f"/v1/acl/{name}")
        for name in ("create", "update", "destroy/", "clone/")
    },
    "GET /v1/acl/auth-methods": acl_read("/v1/acl/auth-methods"),
    "GET /v1/acl/auth-method/": acl_read("/v1/acl/auth-method/alpha-method"),
    "PUT /v1/acl/auth-method": acl_write("/v1/acl/auth-method", _METHOD),
    "PUT /v1/acl/auth-method/": acl_write("/v1/acl/auth-method/alpha-method", _METHOD),
    "DELETE /v1/acl/auth-method/": acl_write("/v1/acl/auth-method/absent"),
    "GET /v1/acl/binding-rules": acl_read("/v1/acl/binding-rules"),
    "GET /v1/acl/binding-rule/": acl_read(f"/v1/acl/binding-rule/{RULE}"),
    "PUT /v1/acl/binding-rule": acl_write("/v1/acl/binding-rule", {"AuthMethod": "none"}),
    "PUT /v1/acl/binding-rule/": acl_write(f"/v1/acl/binding-rule/{RULE}", {"AuthMethod": "none"}),
    "DELETE /v1/acl/binding-rule/": acl_write(f"/v1/acl/binding-rule/{ABSENT}"),
}

SPECS: dict[str, Spec] = {
    **_AGENT, **_CATALOG, **_STATE, **_OPERATOR, **_CONNECT, **_INTERNAL, **_ACL
}  # fmt: skip

#: What goes on without an end.
STREAMS: dict[str, Spec] = {
    "GET /v1/agent/monitor": agent_read("/v1/agent/monitor"),
    "GET /v1/agent/metrics/stream": agent_read("/v1/agent/metrics/stream"),
    # What is watched is asked with the same token, each read by itself.
    "GET /v1/watch": Spec("/v1/watch?watch=kv/alpha/key", shows=(("dg==", (KEY,)),)),
}

#: More than one request about the same endpoint.
MORE: dict[str, Spec] = {
    "GET /v1/kv/ recurse": Spec(
        "/v1/kv/?recurse", shows=(("alpha/key", (KEY,)), ("beta/key", (OTHER_KEY,)))
    ),
    "GET /v1/kv/ keys": Spec(
        "/v1/kv/?keys", shows=(("alpha/key", (KEY,)), ("beta/key", (OTHER_KEY,)))
    ),
    "GET /v1/kv/ separated": Spec(
        "/v1/kv/?keys&separator=/", shows=(("alpha/", (KEY,)), ("beta/", (OTHER_KEY,)))
    ),
    "PUT /v1/txn reads": Spec(
        "/v1/txn",
        [{"KV": {"Verb": "get-tree", "Key": name}} for name in ("alpha/", "beta/")],
        shows=(("alpha/key", (KEY,)), ("beta/key", (OTHER_KEY,))),
    ),
    "PUT /v1/txn checks": one(
        "/v1/txn", *KEY, [{"KV": {"Verb": "check-index", "Key": "alpha/key", "Index": 1}}]
    ),
    "PUT /v1/txn node": one(
        "/v1/txn",
        "node",
        "write",
        "alpha-node",
        [{"Node": {"Verb": "set", "Node": {"Node": "alpha-node", "Address": "10.0.0.1"}}}],
    ),
    "PUT /v1/txn service": one(
        "/v1/txn",
        "service",
        "write",
        "alpha-web",
        [
            {
                "Service": {
                    "Verb": "set",
                    "Node": "alpha-node",
                    "Service": {"ID": "alpha-web", "Service": "alpha-web"},
                }
            }
        ],
    ),
    "PUT /v1/catalog/register unchanged": one(
        "/v1/catalog/register",
        "service",
        "write",
        "alpha-web",
        _REGISTER | {"Service": {"Service": "alpha-web"}},
    ),
    "PUT /v1/catalog/deregister node": one(
        "/v1/catalog/deregister", "node", "write", "alpha-node", {"Node": "alpha-node"}
    ),
    "GET /v1/catalog/nodes filter": Spec(
        "/v1/catalog/nodes?filter=Node%20contains%20alpha", shows=(("alpha-node", (NODE,)),)
    ),
    "GET /v1/config/ all": Spec("/v1/config/service-defaults", shows=(("alpha-web", (WEB,)),)),
    "PUT /v1/config proxies": one(
        "/v1/config", "operator", "write", "", {"Kind": "proxy-defaults", "Name": "global"}
    ),
}
