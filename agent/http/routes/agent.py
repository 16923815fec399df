"""Routes of the agent itself, its services and its checks."""

from __future__ import annotations

from agent.http import (
    agent,
    agent_checks,
    agent_health,
    agent_services,
    connect,
)
from agent.http.acl_links import switched_on
from agent.http.routes.late import LateHandlers
from agent.http.routes.table import LOCAL, Body, Class, get, local_put, route, with_mesh, write

agent_streams = LateHandlers("agent_streams")
agent_tokens = LateHandlers("agent_tokens")
feed = LateHandlers("feed")

AGENT = (
    route("/agent/self", get(agent.self_, "agent:read", LOCAL)),
    route("/agent/host", get(agent.host, "operator:read", LOCAL)),
    route("/agent/version", get(agent.version, "", LOCAL)),
    route("/agent/members", get(agent.members, "node:read", LOCAL)),
    route("/agent/metrics", get(agent.metrics, "agent:read", LOCAL)),
    route("/agent/metrics/stream", get(agent_streams.metrics_stream, "agent:read", LOCAL)),
    route("/agent/monitor", get(agent_streams.monitor, "agent:read", LOCAL)),
    route("/agent/reload", local_put(agent.reload, "agent:write")),
    route("/agent/leave", local_put(agent.leave, "agent:write")),
    route("/agent/join/", local_put(agent.join, "agent:write")),
    route("/agent/force-leave/", local_put(agent.force_leave, "operator:write")),
    route("/agent/maintenance", local_put(agent.maintenance, "node:write")),
    route(
        "/agent/token/",
        local_put(switched_on(agent_tokens.set_token), "agent:write", Body.JSON),
    ),
    route("/agent/services", get(agent_services.list_all, "service:read", LOCAL)),
    route("/agent/service/", get(agent_services.get, "service:read", LOCAL)),
    route(
        "/agent/service/register",
        local_put(agent_services.register, "service:write", Body.JSON),
    ),
    route("/agent/service/deregister/", local_put(agent_services.deregister, "service:write")),
    route("/agent/service/maintenance/", local_put(agent_services.maintenance, "service:write")),
    route("/agent/health/service/id/", get(agent_health.by_id, "service:read", LOCAL)),
    route("/agent/health/service/name/", get(agent_health.by_name, "service:read", LOCAL)),
    route("/agent/checks", get(agent_checks.list_all, "service:read", LOCAL)),
    route("/agent/check/register", local_put(agent_checks.register, "service:write", Body.JSON)),
    route("/agent/check/deregister/", local_put(agent_checks.deregister, "service:write")),
    route("/agent/check/pass/", local_put(agent_checks.pass_, "service:write")),
    route("/agent/check/warn/", local_put(agent_checks.warn, "service:write")),
    route("/agent/check/fail/", local_put(agent_checks.fail, "service:write")),
    route("/agent/check/update/", local_put(agent_checks.update, "service:write", Body.JSON)),
    route("/agent/connect/ca/roots", with_mesh(get(connect.agent_roots, ""))),
    route("/agent/connect/ca/leaf/", with_mesh(get(connect.leaf, "service:write"))),
    route("/agent/connect/ca/leaf/", local_put(connect.renew, "service:write"), suffix="/renew"),
    route(
        "/agent/connect/feed/",
        get(feed.next_, "service:write", LOCAL),
        local_put(feed.heard, "service:write", Body.JSON),
    ),
    route("/agent/connect/feeds", get(feed.standings, "agent:read", LOCAL)),
    route("/agent/connect/proxy-metrics/", get(feed.metrics, "agent:read", LOCAL)),
    route("/agent/connect/proxy-edges/", get(feed.edges, "agent:read", LOCAL)),
    route(
        "/agent/connect/authorize",
        write("POST", connect.authorize, "service:write", Body.JSON, Class.READ),
    ),
)
