"""Bodies of `/v1/operator/` into our records (http-api contract 18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.errors import RequestError
from agent.http.decode import (
    DecodeFailure,
    Shape,
    boolean,
    duration_s,
    ignored,
    integer,
    load,
    string,
)
from raftstore.records import AutopilotConfig

AUTOPILOT = Shape(
    "AutopilotConfiguration",
    {
        "CleanupDeadServers": ("cleanup_dead_servers", boolean),
        "LastContactThreshold": ("last_contact_threshold_s", duration_s),
        "MaxTrailingLogs": ("max_trailing_logs", integer),
        "MinQuorum": ("min_quorum", integer),
        "ServerStabilizationTime": ("server_stabilization_time_s", duration_s),
        "RedundancyZoneTag": ("redundancy_zone_tag", string),
        "DisableUpgradeMigration": ("disable_upgrade_migration", boolean),
        "UpgradeVersionTag": ("upgrade_version_tag", string),
        "CreateIndex": ("create_index", ignored),
        "ModifyIndex": ("modify_index", ignored),
    },
)
#: A body is the whole configuration: what it does not name is off.
_OFF = {
    "cleanup_dead_servers": False,
    "last_contact_threshold_s": 0.0,
    "max_trailing_logs": 0,
    "server_stabilization_time_s": 0.0,
}


def autopilot_config(body: bytes) -> AutopilotConfig:
    """The whole configuration. Raises RequestError."""
    try:
        found = AUTOPILOT.read("", load(body))
        _check(found)
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Error parsing autopilot config: {error}") from None
    return AutopilotConfig(**(_OFF | found))


def _check(found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        if isinstance(value, int | float) and value < 0:
            raise DecodeFailure(f"{name.removesuffix('_s')} cannot be negative")
