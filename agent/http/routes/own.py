"""Routes that Consul does not have."""

from __future__ import annotations

from agent.http import description, discovery, explain, history, watch
from agent.http.routes.table import LOCAL, get, route
from agent.http.tokens import ANY_TOKEN

OWN = (
    route("/explain/", get(explain.explain, ANY_TOKEN)),
    route("/history", get(history.history, "operator:read")),
    route("/discovery/prometheus", get(discovery.prometheus, "service:read")),
    route("/watch", get(watch.watch, "", LOCAL)),
    route("/openapi.json", get(description.openapi, "", LOCAL)),
)
