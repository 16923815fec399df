"""Routes that Consul does not have."""

from __future__ import annotations

from agent.http import explain
from agent.http.routes.late import LateHandlers
from agent.http.routes.table import LOCAL, get, route
from agent.http.tokens import ANY_TOKEN

description = LateHandlers("description")
discovery = LateHandlers("discovery")
history = LateHandlers("history")
watch = LateHandlers("watch")

OWN = (
    route("/explain/", get(explain.explain, ANY_TOKEN)),
    route("/history", get(history.history, "operator:read")),
    route("/discovery/prometheus", get(discovery.prometheus, "service:read")),
    route("/watch", get(watch.watch, "", LOCAL)),
    route("/openapi.json", get(description.openapi, "", LOCAL)),
)
