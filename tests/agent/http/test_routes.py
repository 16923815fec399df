"""The route table against the contract's endpoint index."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.bounds import Limits
from agent.http.routes import ROUTES, Body, Class, Route, Router
from agent.http.routes.late import documentation

#: Section 23 of the HTTP API contract, as far as this agent serves it: methods -> paths.
CONTRACT = {
    "PUT": """
        /acl/bootstrap /acl/token /acl/policy /acl/role /acl/binding-rule /acl/auth-method
        /agent/maintenance /agent/reload /agent/leave /agent/join/ /agent/force-leave/
        /agent/token/ /agent/check/register /agent/check/deregister/ /agent/check/pass/
        /agent/check/warn/ /agent/check/fail/ /agent/check/update/ /agent/service/register
        /agent/service/deregister/ /agent/service/maintenance/
        /catalog/register /catalog/deregister /txn
        /session/create /session/destroy/ /session/renew/ /event/fire/ /coordinate/update /config
    """,
    "POST": """
        /acl/oidc/auth-url /acl/oidc/callback
        /acl/login /acl/logout /acl/rules/translate /acl/templated-policy/preview/
        /internal/acl/authorize /agent/connect/authorize /operator/raft/transfer-leader
    """,
    "GET": """
        /acl/replication /acl/tokens /acl/policies /acl/roles /acl/binding-rules
        /acl/auth-methods /acl/token/self /acl/policy/name/ /acl/role/name/
        /acl/templated-policies /acl/templated-policy/name/
        /agent/self /agent/host /agent/version /agent/members /agent/metrics /agent/services
        /agent/metrics/stream /agent/monitor /operator/usage
        /internal/ui/nodes /internal/ui/node/ /internal/ui/services /internal/ui/metrics-proxy/
        /internal/ui/gateway-services-nodes/ /internal/ui/gateway-intentions/
        /internal/ui/service-topology/ /internal/ui/catalog-overview
        /exported-services /imported-services /internal/ui/exported-services
        /internal/federation-states
        /internal/federation-states/mesh-gateways /internal/federation-state/
        /agent/checks /agent/service/ /agent/health/service/id/ /agent/health/service/name/
        /agent/connect/ca/roots /agent/connect/ca/leaf/
        /catalog/datacenters /catalog/nodes /catalog/services /catalog/service/
        /catalog/connect/ /catalog/node/ /catalog/node-services/ /catalog/gateway-services/
        /connect/ca/roots /connect/intentions/match /connect/intentions/check
        /health/node/ /health/checks/ /health/state/ /health/service/ /health/connect/
        /health/ingress/ /operator/raft/configuration /status/leader /status/peers
        /operator/autopilot/health /operator/autopilot/state
        /session/info/ /session/node/ /session/list /event/list
        /coordinate/datacenters /coordinate/nodes /coordinate/node/
    """,
    "GET,PUT": "/connect/ca/configuration /operator/autopilot/configuration /snapshot",
    "DELETE": "/operator/raft/peer",
    "GET,POST": "/connect/intentions /discovery-chain/ /query",
    "GET,DELETE": "/config/",
    "GET,POST,PUT,DELETE": "/operator/keyring",
    "GET,PUT,DELETE": """
        /acl/token/ /acl/policy/ /acl/role/ /acl/binding-rule/ /acl/auth-method/
        /connect/intentions/exact /connect/intentions/ /kv/ /query/
    """,
}
#: Below an id, two words have a route of their own.
SUFFIXED = {
    "/v1/query/:name/execute": "GET",
    "/v1/query/:name/explain": "GET",
    "/v1/agent/connect/ca/leaf/:name/renew": "PUT",
}
#: Of the first ACL system; they say that it is gone.
LEGACY = {
    "/v1/acl/list": "GET",
    "/v1/acl/info/": "GET",
    "/v1/acl/create": "PUT",
    "/v1/acl/update": "PUT",
    "/v1/acl/destroy/": "PUT",
    "/v1/acl/clone/": "PUT",
}
#: Ours alone.
OURS = {
    "/v1/explain/": "GET",
    "/v1/history": "GET",
    "/v1/openapi.json": "GET",
    "/v1/watch": "GET",
    "/v1/agent/connect/feed/": "GET,PUT",
    "/v1/agent/connect/feeds": "GET",
    "/v1/agent/connect/proxy-edges/": "GET",
    "/v1/agent/connect/proxy-metrics/": "GET",
    "/v1/discovery/prometheus": "GET",
    "/v1/connect/ca/csr": "PUT",
    "/v1/connect/ca/intermediate": "PUT",
    "/v1/connect/ca/rotate": "PUT",
    "/v1/connect/ca/revoke": "PUT",
    "/v1/connect/ca/revocations": "GET,DELETE",
}

#: Endpoints that need no permission (contract sections 7, 10.1, 17).
OPEN = {
    "/v1/acl/bootstrap",
    "/v1/acl/login",
    "/v1/acl/logout",
    "/v1/acl/oidc/auth-url",
    "/v1/acl/oidc/callback",
    "/v1/acl/replication",
    "/v1/acl/token/self",
    "/v1/agent/version",
    "/v1/agent/connect/ca/roots",
    "/v1/catalog/datacenters",
    "/v1/connect/ca/revocations",
    "/v1/connect/ca/roots",
    "/v1/coordinate/datacenters",
    "/v1/openapi.json",
    "/v1/watch",  # what is watched has its own
    "/v1/status/leader",
    "/v1/status/peers",
}


def methods(route: Route) -> str:
    return ",".join(endpoint.method for endpoint in route.endpoints)


def test_the_table_is_the_contracts_index() -> None:
    wanted = {f"/v1{path}": word for word, paths in CONTRACT.items() for path in paths.split()}
    assert {route.name: methods(route) for route in ROUTES} == wanted | OURS | SUFFIXED | LEGACY


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_has_permission_limits_and_documentation(route: Route) -> None:
    for endpoint in route.endpoints:
        assert endpoint.permission or route.name in OPEN
        assert documentation(endpoint.handler)
        if endpoint.method == "GET":
            assert endpoint.body is Body.NONE
        if endpoint.kind in {Class.WRITE, Class.LOCAL_WRITE}:
            assert endpoint.permission.endswith(":write") or "/acl/" in route.path
        if endpoint.body is Body.STREAM:  # never in memory as a whole
            assert endpoint.body.limit(Limits()) == Limits().archive_max_size
        elif endpoint.body is not Body.NONE:
            assert 0 < endpoint.body.limit(Limits()) <= 1 << 20


def test_paths_stand_once_in_the_table() -> None:
    paths = [route.name for route in ROUTES]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize(
    ("path", "route", "rest"),
    [
        ("/v1/kv/a/b/c", "/v1/kv/", "a/b/c"),
        ("/v1/kv/", "/v1/kv/", ""),
        ("/v1/agent/service/register", "/v1/agent/service/register", ""),
        ("/v1/agent/service/registered", "/v1/agent/service/", "registered"),
        ("/v1/agent/service/deregister/x", "/v1/agent/service/deregister/", "x"),
        ("/v1/acl/token/self", "/v1/acl/token/self", ""),
        ("/v1/acl/token/abc", "/v1/acl/token/", "abc"),
        ("/v1/connect/intentions/exact", "/v1/connect/intentions/exact", ""),
        ("/v1/connect/intentions/some-id", "/v1/connect/intentions/", "some-id"),
        ("/v1/query/a/b", "/v1/query/", "a/b"),
        ("/v1/query/a/execute", "/v1/query/:name/execute", "a"),
        ("/v1/query/a/explain", "/v1/query/:name/explain", "a"),
    ],
)
def test_exact_wins_then_the_longest_prefix(path: str, route: str, rest: str) -> None:
    found = Router(ROUTES).find(path)
    assert found is not None
    assert (found[0].name, found[1]) == (route, rest)


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v1/nope", "/v1/kv", "/v2/kv/a", "/v1/agent/self/", "/v1/catalog/"],
)
def test_anything_else_is_no_route(path: str) -> None:
    assert Router(ROUTES).find(path) is None


@given(st.lists(st.sampled_from(["v1", "kv", "agent", "service", "register", "query", "execute",
                                 "acl", "x", ""]),
                max_size=6))  # fmt: skip
def test_the_router_agrees_with_trying_every_route(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    fitting = [
        route
        for route in ROUTES
        if (path == route.path and not route.suffix)
        or (
            route.path.endswith("/") and path.startswith(route.path) and path.endswith(route.suffix)
        )
    ]
    found = Router(ROUTES).find(path)
    if not fitting:
        assert found is None
    else:
        best = max(fitting, key=lambda r: (r.path == path, len(r.path), len(r.suffix)))
        assert found is not None and found[0] is best


def test_allow_names_options_first() -> None:
    kv = next(route for route in ROUTES if route.path == "/v1/kv/")
    assert kv.allow == "OPTIONS,GET,PUT,DELETE"
