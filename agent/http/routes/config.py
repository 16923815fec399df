"""Routes of config entries and of what they make."""

from __future__ import annotations

from agent.http.routes.late import LateHandlers
from agent.http.routes.table import Body, Class, get, route, write

config = LateHandlers("config")
discovery_chain = LateHandlers("discovery_chain")

CONFIG = (
    route("/config", write("PUT", config.put, "service:write", Body.JSON)),
    route(
        "/config/",
        get(config.get, "service:read"),
        write("DELETE", config.delete, "service:write"),
    ),
    route(
        "/discovery-chain/",
        get(discovery_chain.chain, "service:read"),
        write("POST", discovery_chain.chain, "service:read", Body.JSON, Class.READ),
    ),
)
