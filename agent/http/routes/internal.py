"""Routes of user interfaces and of what datacenters tell each other."""

from __future__ import annotations

from agent.http.routes.late import LateHandlers
from agent.http.routes.table import get, route

federation = LateHandlers("federation")
ui = LateHandlers("ui")
ui_gateways = LateHandlers("ui_gateways")

INTERNAL = (
    route("/internal/ui/nodes", get(ui.nodes, "node:read")),
    route("/internal/ui/node/", get(ui.node, "node:read")),
    route("/internal/ui/services", get(ui.services, "service:read")),
    route("/internal/ui/gateway-services-nodes/", get(ui_gateways.services, "service:read")),
    route("/internal/ui/gateway-intentions/", get(ui_gateways.intentions, "intentions:read")),
    route("/internal/ui/service-topology/", get(ui.service_topology, "service:read")),
    route("/internal/ui/catalog-overview", get(ui.catalog_overview, "operator:read")),
    route("/internal/ui/exported-services", get(ui.exported_services, "service:read")),
    route("/exported-services", get(ui.exported_services, "service:read")),
    route("/imported-services", get(ui.exported_services, "service:read")),
    route("/internal/ui/metrics-proxy/", get(ui.metrics_proxy, "service:read")),
    route("/internal/federation-states", get(federation.list_all, "operator:read")),
    route("/internal/federation-states/mesh-gateways", get(federation.mesh_gateways, "node:read")),
    route("/internal/federation-state/", get(federation.get, "operator:read")),
)
