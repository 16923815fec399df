"""Routes of operators."""

from __future__ import annotations

from agent.http.routes.late import LateHandlers
from agent.http.routes.table import LOCAL, Body, Class, get, route, write

operator = LateHandlers("operator")
operator_keyring = LateHandlers("operator_keyring")
operator_usage = LateHandlers("operator_usage")

OPERATOR = (
    route(
        "/operator/raft/configuration",
        get(operator.raft_configuration, "operator:read"),
    ),
    route("/operator/raft/peer", write("DELETE", operator.raft_peer, "operator:write")),
    route(
        "/operator/raft/transfer-leader",
        write("POST", operator.transfer_leader, "operator:write"),
    ),
    route(
        "/operator/autopilot/configuration",
        get(operator.autopilot_get, "operator:read"),
        write("PUT", operator.autopilot_put, "operator:write", Body.JSON),
    ),
    route(
        "/operator/keyring",
        get(operator_keyring.list_keys, "keyring:read", LOCAL),
        write("POST", operator_keyring.install, "keyring:write", Body.JSON, Class.LOCAL_WRITE),
        write("PUT", operator_keyring.use, "keyring:write", Body.JSON, Class.LOCAL_WRITE),
        write("DELETE", operator_keyring.remove, "keyring:write", Body.JSON, Class.LOCAL_WRITE),
    ),
    route("/operator/autopilot/health", get(operator.autopilot_health, "operator:read")),
    route("/operator/autopilot/state", get(operator.autopilot_state, "operator:read")),
    route("/operator/usage", get(operator_usage.usage, "operator:read")),
)
