"""The one table of the HTTP API: path, methods, permission, body limit, handler.

Everything a request goes through before its handler is decided here: a route without a permission
or a body limit cannot be written. A path that ends in "/" takes everything below it; the longest
one wins. What is not in the table is 404.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from agent.config.schema import Limits
from agent.http import (
    acl,
    agent,
    agent_checks,
    agent_health,
    agent_services,
    catalog,
    config,
    connect,
    coordinate,
    event,
    explain,
    health,
    history,
    intentions,
    kv,
    operator,
    operator_keyring,
    query,
    session,
    snapshot,
    status,
    txn,
)
from agent.http.call import Call, Change, Read
from agent.http.reply import Reply

Handler = Callable[[Call], Awaitable[Reply]]
#: Turns a request into the one thing it asks of the state, None if it is more than that. Raises
#: RequestError; changes nothing.
Plan = Callable[[Call], Read | Change | None]


class Body(enum.Enum):
    """Which limit a request body has; the value is the limit's name in ``Limits``.

    A body of STREAM is not read before the handler is called, but by it.
    """

    NONE = ""
    JSON = "http_body_max"
    KV = "kv_max_value_size"
    TXN = "txn_max_req_len"
    STREAM = "archive_max_size"

    def limit(self, limits: Limits) -> int:
        """The limit in bytes. A transaction may be as long as a value if that is more."""
        if self is Body.TXN:
            return max(limits.txn_max_req_len, limits.kv_max_value_size)
        return int(getattr(limits, self.value)) if self.value else 0


class Class(enum.Enum):
    """What a request touches: this agent alone, or the replicated state, reading or writing."""

    LOCAL_READ = "local read"
    LOCAL_WRITE = "local write"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of a route. ``permission`` is the rule a token will need ("" = none).

    With a ``plan`` the request is one read or one change and nothing else: it can then be carried
    out without a task (prompt.py).
    """

    method: str
    handler: Handler
    permission: str
    body: Body
    kind: Class
    plan: Plan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path with its methods, in the order in which `Allow` names them.

    ``own_options`` routes answer OPTIONS with `{}` and leave that word out of a 405's `Allow`.
    """

    path: str
    endpoints: tuple[Endpoint, ...]
    own_options: bool = False

    @property
    def allow(self) -> str:
        """The value of `Allow`."""
        return ",".join(["OPTIONS", *(endpoint.method for endpoint in self.endpoints)])

    def endpoint(self, method: str) -> Endpoint | None:
        """What a method does here."""
        for endpoint in self.endpoints:
            if endpoint.method == method:
                return endpoint
        return None


def _get(handler: Handler, permission: str, kind: Class = Class.READ) -> Endpoint:
    return Endpoint(method="GET", handler=handler, permission=permission, body=Body.NONE, kind=kind)


def _write(
    method: str,
    handler: Handler,
    permission: str,
    body: Body = Body.NONE,
    kind: Class = Class.WRITE,
) -> Endpoint:
    return Endpoint(method=method, handler=handler, permission=permission, body=body, kind=kind)


def _planned(
    method: str,
    plan: Plan,
    permission: str,
    body: Body = Body.NONE,
    *,
    longer: Handler | None = None,
) -> Endpoint:
    """An endpoint with a plan; ``longer`` answers what is more than one read or change."""

    async def handler(call: Call) -> Reply:
        planned = plan(call)
        if planned is None:
            assert longer is not None, "a plan without an alternative always plans"
            return await longer(call)
        return await call.carry_out(planned)

    handler.__doc__ = plan.__doc__
    kind = Class.READ if method == "GET" else Class.WRITE
    return Endpoint(
        method=method, handler=handler, permission=permission, body=body, kind=kind, plan=plan
    )


def _local_put(handler: Handler, permission: str, body: Body = Body.NONE) -> Endpoint:
    return _write("PUT", handler, permission, body, Class.LOCAL_WRITE)


def _route(path: str, *endpoints: Endpoint, own_options: bool = False) -> Route:
    return Route(path=f"/v1{path}", endpoints=endpoints, own_options=own_options)


def _acl(path: str, *methods: str) -> Route:
    return _route(path, *(_write(method, acl.disabled, "acl:write") for method in methods))


_LOCAL = Class.LOCAL_READ

AGENT = (
    _route("/agent/self", _get(agent.self_, "agent:read", _LOCAL)),
    _route("/agent/host", _get(agent.host, "operator:read", _LOCAL)),
    _route("/agent/version", _get(agent.version, "", _LOCAL)),
    _route("/agent/members", _get(agent.members, "node:read", _LOCAL)),
    _route("/agent/metrics", _get(agent.metrics, "agent:read", _LOCAL)),
    _route("/agent/reload", _local_put(agent.reload, "agent:write")),
    _route("/agent/leave", _local_put(agent.leave, "agent:write")),
    _route("/agent/join/", _local_put(agent.join, "agent:write")),
    _route("/agent/force-leave/", _local_put(agent.force_leave, "operator:write")),
    _route("/agent/maintenance", _local_put(agent.maintenance, "node:write")),
    _route("/agent/token/", _local_put(acl.disabled, "agent:write")),
    _route("/agent/services", _get(agent_services.list_all, "service:read", _LOCAL)),
    _route("/agent/service/", _get(agent_services.get, "service:read", _LOCAL)),
    _route(
        "/agent/service/register",
        _local_put(agent_services.register, "service:write", Body.JSON),
    ),
    _route("/agent/service/deregister/", _local_put(agent_services.deregister, "service:write")),
    _route("/agent/service/maintenance/", _local_put(agent_services.maintenance, "service:write")),
    _route("/agent/health/service/id/", _get(agent_health.by_id, "service:read", _LOCAL)),
    _route("/agent/health/service/name/", _get(agent_health.by_name, "service:read", _LOCAL)),
    _route("/agent/checks", _get(agent_checks.list_all, "service:read", _LOCAL)),
    _route("/agent/check/register", _local_put(agent_checks.register, "service:write", Body.JSON)),
    _route("/agent/check/deregister/", _local_put(agent_checks.deregister, "service:write")),
    _route("/agent/check/pass/", _local_put(agent_checks.pass_, "service:write")),
    _route("/agent/check/warn/", _local_put(agent_checks.warn, "service:write")),
    _route("/agent/check/fail/", _local_put(agent_checks.fail, "service:write")),
    _route("/agent/check/update/", _local_put(agent_checks.update, "service:write", Body.JSON)),
    _route("/agent/connect/ca/roots", _get(connect.agent_roots, "")),
    _route("/agent/connect/ca/leaf/", _get(connect.leaf, "service:write")),
    _route(
        "/agent/connect/authorize",
        _write("POST", connect.authorize, "service:write", Body.JSON, Class.READ),
    ),
)

CATALOG = (
    _route("/catalog/register", _planned("PUT", catalog.register, "node:write", Body.JSON)),
    _route("/catalog/deregister", _write("PUT", catalog.deregister, "node:write", Body.JSON)),
    _route("/catalog/datacenters", _get(catalog.datacenters, "", _LOCAL)),
    _route("/catalog/nodes", _get(catalog.nodes, "node:read")),
    _route("/catalog/services", _get(catalog.services, "service:read")),
    _route(
        "/catalog/service/",
        _planned("GET", catalog.service, "service:read", longer=catalog.service_near),
    ),
    _route("/catalog/connect/", _get(catalog.connect, "service:read")),
    _route("/catalog/node/", _get(catalog.node, "node:read")),
    _route("/catalog/node-services/", _get(catalog.node_services, "node:read")),
    _route("/catalog/gateway-services/", _get(catalog.gateway_services, "service:read")),
    _route("/health/node/", _get(health.node, "node:read")),
    _route("/health/checks/", _get(health.checks, "service:read")),
    _route("/health/state/", _get(health.state, "node:read")),
    _route(
        "/health/service/",
        _planned("GET", health.service, "service:read", longer=health.service_near),
    ),
    _route("/health/connect/", _get(health.connect, "service:read")),
    _route("/health/ingress/", _get(health.ingress, "service:read")),
)

STATE = (
    _route(
        "/kv/",
        _planned("GET", kv.get, "key:read"),
        _planned("PUT", kv.put, "key:write", Body.KV),
        _write("DELETE", kv.delete, "key:write"),
    ),
    _route("/txn", _write("PUT", txn.run, "key:write", Body.TXN)),
    _route("/session/create", _write("PUT", session.create, "session:write", Body.JSON)),
    _route("/session/destroy/", _write("PUT", session.destroy, "session:write")),
    _route("/session/renew/", _write("PUT", session.renew, "session:write")),
    _route("/session/info/", _get(session.info, "session:read")),
    _route("/session/node/", _get(session.of_node, "session:read")),
    _route("/session/list", _get(session.list_all, "session:read")),
    _route("/config/", _get(config.get, "service:read")),
    _route(
        "/query/",
        _get(query.read, ""),
        _write("PUT", query.write, "query:write", Body.JSON),
        _write("DELETE", query.write, "query:write"),
        own_options=True,
    ),
    _route(
        "/snapshot",
        _get(snapshot.save, "acl:write"),
        _write("PUT", snapshot.restore, "acl:write", Body.STREAM),
    ),
    _route("/coordinate/datacenters", _get(coordinate.datacenters, "")),
    _route("/coordinate/nodes", _get(coordinate.nodes, "node:read")),
    _route("/coordinate/node/", _get(coordinate.node, "node:read")),
    _route("/coordinate/update", _write("PUT", coordinate.update, "node:write", Body.JSON)),
    _route(
        "/event/fire/",
        _write("PUT", event.fire, "event:write", Body.JSON, Class.LOCAL_WRITE),
    ),
    _route("/event/list", _get(event.list_all, "event:read", _LOCAL)),
    _route("/status/leader", _get(status.leader, "")),
    _route("/status/peers", _get(status.peers, "")),
    _route(
        "/operator/raft/configuration",
        _get(operator.raft_configuration, "operator:read"),
    ),
    _route("/operator/raft/peer", _write("DELETE", operator.raft_peer, "operator:write")),
    _route(
        "/operator/raft/transfer-leader",
        _write("POST", operator.transfer_leader, "operator:write"),
    ),
    _route(
        "/operator/autopilot/configuration",
        _get(operator.autopilot_get, "operator:read"),
        _write("PUT", operator.autopilot_put, "operator:write", Body.JSON),
    ),
    _route(
        "/operator/keyring",
        _get(operator_keyring.list_keys, "keyring:read", _LOCAL),
        _write("POST", operator_keyring.install, "keyring:write", Body.JSON, Class.LOCAL_WRITE),
        _write("PUT", operator_keyring.use, "keyring:write", Body.JSON, Class.LOCAL_WRITE),
        _write("DELETE", operator_keyring.remove, "keyring:write", Body.JSON, Class.LOCAL_WRITE),
    ),
    _route("/operator/autopilot/health", _get(operator.autopilot_health, "operator:read")),
    _route("/operator/autopilot/state", _get(operator.autopilot_state, "operator:read")),
    _route("/explain/", _get(explain.explain, "operator:read")),
    _route("/history", _get(history.history, "operator:read")),
)

CONNECT = (
    _route("/connect/ca/roots", _get(connect.roots, "")),
    _route(
        "/connect/ca/configuration",
        _get(connect.configuration_get, "operator:read"),
        _write("PUT", connect.configuration_put, "operator:write", Body.JSON),
    ),
    _route(
        "/connect/intentions",
        _get(intentions.list_all, "intentions:read"),
        _write("POST", intentions.create, "intentions:write", Body.JSON),
    ),
    _route("/connect/intentions/match", _get(intentions.match, "intentions:read")),
    _route("/connect/intentions/check", _get(intentions.check, "intentions:read")),
    _route(
        "/connect/intentions/exact",
        _get(intentions.exact_get, "intentions:read"),
        _write("PUT", intentions.exact_put, "intentions:write", Body.JSON),
        _write("DELETE", intentions.exact_delete, "intentions:write"),
    ),
    _route(
        "/connect/intentions/",
        _get(intentions.id_get, "intentions:read"),
        _write("PUT", intentions.id_put, "intentions:write", Body.JSON),
        _write("DELETE", intentions.id_delete, "intentions:write"),
    ),
)

ACL = (
    _acl("/acl/bootstrap", "PUT"),
    *(_acl(f"/acl/{name}", "POST") for name in ("login", "logout", "rules/translate")),
    *(
        _acl(f"/acl/{name}", "GET")
        for name in (
            "replication",
            "tokens",
            "policies",
            "roles",
            "binding-rules",
            "auth-methods",
            "token/self",
            "policy/name/",
            "role/name/",
            "templated-policies",
            "templated-policy/name/",
        )
    ),
    *(
        _acl(f"/acl/{name}", "PUT")
        for name in ("token", "policy", "role", "binding-rule", "auth-method")
    ),
    *(
        _acl(f"/acl/{name}/", "GET", "PUT", "DELETE")
        for name in ("token", "policy", "role", "binding-rule", "auth-method")
    ),
    _acl("/acl/templated-policy/preview/", "POST"),
    _acl("/internal/acl/authorize", "POST"),
)

ROUTES: tuple[Route, ...] = (*AGENT, *CATALOG, *STATE, *CONNECT, *ACL)


class Router:
    """Finds the route of a path: an exact one first, then the longest prefix."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        self._exact: dict[str, Route] = {}
        #: By the path's first three segments ("/v1/kv"), so that few prefixes are tried.
        self._prefixes: dict[str, list[Route]] = {}
        for route in routes:
            if route.path.endswith("/"):
                self._prefixes.setdefault(_area(route.path), []).append(route)
            else:
                assert route.path not in self._exact, f"{route.path} stands twice in the table"
                self._exact[route.path] = route
        for group in self._prefixes.values():
            group.sort(key=lambda route: -len(route.path))

    def find(self, path: str) -> tuple[Route, str] | None:
        """The route and the rest of the path behind a prefix."""
        route = self._exact.get(path)
        if route is not None:
            return route, ""
        for route in self._prefixes.get(_area(path), ()):
            if path.startswith(route.path):
                return route, path[len(route.path) :]
        return None


def _area(path: str) -> str:
    """ "/v1/kv/a/b" -> "/v1/kv"."""
    second = path.find("/", 1)
    third = path.find("/", second + 1)
    return path[:third] if third > 0 else path
