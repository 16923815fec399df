"""What operators are shown of the servers, in Consul's JSON (http-api contract 18)."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.backend.operations import AutopilotState, ServerHealth
from agent.durations import format_s
from agent.http.render import Object
from raftstore.records import AutopilotConfig


def autopilot_config(config: AutopilotConfig) -> Object:
    """The configuration with its indexes."""
    return {
        "CleanupDeadServers": config.cleanup_dead_servers,
        "LastContactThreshold": format_s(config.last_contact_threshold_s),
        "MaxTrailingLogs": config.max_trailing_logs,
        "MinQuorum": config.min_quorum,
        "ServerStabilizationTime": format_s(config.server_stabilization_time_s),
        "RedundancyZoneTag": config.redundancy_zone_tag,
        "DisableUpgradeMigration": config.disable_upgrade_migration,
        "UpgradeVersionTag": config.upgrade_version_tag,
        "CreateIndex": config.create_index,
        "ModifyIndex": config.modify_index,
    }


def autopilot_health(state: AutopilotState) -> Object:
    """The servers' health as a list."""
    return {
        "Healthy": state.healthy,
        "FailureTolerance": state.failure_tolerance,
        "Servers": [
            {
                "ID": server.node_id,
                "Name": server.name,
                "Address": server.address,
                "SerfStatus": server.status,
                "Version": server.version,
                "Leader": server.leader,
                "LastContact": _contact(server),
                "LastTerm": server.last_term,
                "LastIndex": server.last_index,
                "Healthy": server.healthy,
                "Voter": server.voter,
                "StableSince": _time(server.stable_since_unix_s),
            }
            for server in state.servers
        ],
    }


def autopilot_state(state: AutopilotState) -> Object:
    """Everything the leader knows of its servers. ``Waiting`` and ``Done`` are our own."""
    return {
        "Healthy": state.healthy,
        "FailureTolerance": state.failure_tolerance,
        "OptimisticFailureTolerance": state.optimistic_failure_tolerance,
        "Servers": {server.node_id: _server(server) for server in state.servers},
        "Leader": state.leader,
        "Voters": [server.node_id for server in state.servers if server.voter],
        "Waiting": dict(state.waiting),
        "Done": list(state.done),
    }


def _server(server: ServerHealth) -> Object:
    role = "voter" if server.voter else "non-voter"
    return {
        "ID": server.node_id,
        "Name": server.name,
        "Address": server.address,
        "NodeStatus": server.status,
        "Version": server.version,
        "LastContact": _contact(server),
        "LastTerm": server.last_term,
        "LastIndex": server.last_index,
        "Healthy": server.healthy,
        "StableSince": _time(server.stable_since_unix_s),
        "ReadReplica": server.read_replica,
        "Status": "leader" if server.leader else role,
        "Meta": dict(server.meta),
        "NodeType": "read-replica" if server.read_replica else "voter",
    }


def _contact(server: ServerHealth) -> str:
    """Milliseconds are exact enough, and "0s" for the leader; "-1s" if it was never heard."""
    return format_s(round(server.last_contact_s, 3))


def _time(unix_s: float) -> str:
    """RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(int(unix_s), UTC).isoformat().replace("+00:00", "Z")
