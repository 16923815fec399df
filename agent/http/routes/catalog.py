"""Routes of the catalog and of health."""

from __future__ import annotations

from agent.http import catalog, health
from agent.http.routes.table import LOCAL, Body, get, planned, route, write

CATALOG = (
    route("/catalog/register", planned("PUT", catalog.register, "node:write", Body.JSON)),
    route("/catalog/deregister", write("PUT", catalog.deregister, "node:write", Body.JSON)),
    route("/catalog/datacenters", get(catalog.datacenters, "", LOCAL)),
    route("/catalog/nodes", get(catalog.nodes, "node:read")),
    route(
        "/catalog/services",
        planned("GET", catalog.services, "service:read", longer=catalog.services_filtered),
    ),
    route(
        "/catalog/service/",
        planned("GET", catalog.service, "service:read", longer=catalog.service_near),
    ),
    route("/catalog/connect/", get(catalog.connect, "service:read")),
    route("/catalog/node/", get(catalog.node, "node:read")),
    route("/catalog/node-services/", get(catalog.node_services, "node:read")),
    route("/catalog/gateway-services/", get(catalog.gateway_services, "service:read")),
    route("/health/node/", get(health.node, "node:read")),
    route("/health/checks/", get(health.checks, "service:read")),
    route("/health/state/", get(health.state, "node:read")),
    route(
        "/health/service/",
        planned("GET", health.service, "service:read", longer=health.service_near),
    ),
    route("/health/connect/", get(health.connect, "service:read")),
    route("/health/ingress/", get(health.ingress, "service:read")),
)
