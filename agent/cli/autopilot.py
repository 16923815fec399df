"""`operator autopilot`: how the leader looks after the servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_PATH = "/v1/operator/autopilot/configuration"
#: Flag -> (field of the JSON, its kind), in the order in which fields are shown.
_SETTINGS = {
    "cleanup-dead-servers": ("CleanupDeadServers", Kind.BOOL),
    "last-contact-threshold": ("LastContactThreshold", Kind.DURATION),
    "max-trailing-logs": ("MaxTrailingLogs", Kind.COUNT),
    "min-quorum": ("MinQuorum", Kind.COUNT),
    "server-stabilization-time": ("ServerStabilizationTime", Kind.DURATION),
    "redundancy-zone-tag": ("RedundancyZoneTag", Kind.STRING),
    "disable-upgrade-migration": ("DisableUpgradeMigration", Kind.BOOL),
    "upgrade-version-tag": ("UpgradeVersionTag", Kind.STRING),
}
_HELP = {
    "cleanup-dead-servers": "Remove failed servers when the others are well.",
    "last-contact-threshold": "A server that was not heard for longer is not healthy.",
    "max-trailing-logs": "A server that lacks more entries is not healthy.",
    "min-quorum": "Dead servers are not removed below this number of voters.",
    "server-stabilization-time": "A new server votes after it has been healthy for so long.",
    "redundancy-zone-tag": "Kept for other tools; has no effect.",
    "disable-upgrade-migration": "Kept for other tools; has no effect.",
    "upgrade-version-tag": "Kept for other tools; has no effect.",
}
_WIDTH = 30


def _get_config(call: Call) -> int:
    from agent.cli.client import ClientError

    try:
        found = call.client().read(_PATH)
    except ClientError as error:
        return call.fail(f"Error querying Autopilot configuration: {error}")
    for name, kind in _SETTINGS.values():
        value = found.get(name)
        shown = json.dumps(value) if kind in {Kind.STRING, Kind.BOOL} else value
        call.say(f"{name} = {shown}")
    return 0


def _set_config(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    client = call.client()
    try:
        config = client.read(_PATH)
    except ClientError as error:
        return call.fail(f"Error querying Autopilot configuration: {error}")
    for flag, (name, _) in _SETTINGS.items():
        if call.flags.was_given(flag):
            config[name] = call.flags[flag]
    query = [("cas", str(config.get("ModifyIndex", 0)))]
    try:
        done = expect(client.put(_PATH, query, json.dumps(config).encode())).json()
    except ClientError as error:
        return call.fail(f"Error setting Autopilot configuration: {error}")
    if not done:
        return call.fail("Configuration could not be atomically updated, please try again")
    call.say("Configuration updated!")
    return 0


def _state(call: Call) -> int:
    from agent.cli.client import ClientError

    form = call.flags.text("format")
    if form not in {"pretty", "json"}:
        return call.fail(f"Unknown format: {form}")
    try:
        found = call.client().read("/v1/operator/autopilot/state")
    except ClientError as error:
        return call.fail(f"Error retrieving autopilot state: {error}")
    call.say(json.dumps(found, indent="  ") if form == "json" else state_text(found))
    return 0


def state_text(state: Mapping[str, Any]) -> str:
    """The state for people: the whole, then each server."""
    lines = [
        _line("Healthy", _word(state.get("Healthy"))),
        _line("Failure Tolerance", state.get("FailureTolerance", 0)),
        _line("Optimistic Failure Tolerance", state.get("OptimisticFailureTolerance", 0)),
        _line("Leader", state.get("Leader", "")),
        "Voters:",
        *(f"   {node_id}" for node_id in state.get("Voters") or ()),
        "Servers:",
    ]
    waiting = state.get("Waiting") or {}
    for node_id, server in sorted((state.get("Servers") or {}).items()):
        lines += [f"   {node_id}", *_server(server, waiting.get(node_id, ""))]
    for node_id, why in sorted(waiting.items()):
        if node_id not in (state.get("Servers") or {}):
            lines.append(f"   {node_id} (not a member): {why}")
    return "\n".join(lines)


def _server(server: Mapping[str, Any], waiting: str) -> list[str]:
    rows = [
        ("Name", server.get("Name")),
        ("Address", server.get("Address")),
        ("Version", server.get("Version")),
        ("Status", server.get("Status")),
        ("Node Type", server.get("NodeType")),
        ("Node Status", server.get("NodeStatus")),
        ("Healthy", _word(server.get("Healthy"))),
        ("Last Contact", server.get("LastContact")),
        ("Last Term", server.get("LastTerm")),
        ("Last Index", server.get("LastIndex")),
        ("Stable Since", server.get("StableSince")),
    ]
    if waiting:
        rows.append(("Waiting", waiting))
    lines = [f"      {name + ':':<16} {value}" for name, value in rows]
    meta = server.get("Meta") or {}
    if meta:
        lines.append("      Meta:")
        lines += [f"         {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(meta.items())]
    return lines


def _line(name: str, value: object) -> str:
    return f"{name + ':':<{_WIDTH}}{value}"


def _word(value: object) -> str:
    return str(bool(value)).lower()


COMMANDS = {
    ("operator", "autopilot", "get-config"): Command(
        usage="operator autopilot get-config [options]",
        help="Displays the autopilot's configuration.",
        run=_get_config,
        server=True,
    ),
    ("operator", "autopilot", "set-config"): Command(
        usage="operator autopilot set-config [options]",
        help="Changes the autopilot's configuration; what is not named stays as it is.",
        run=_set_config,
        server=True,
        flags=tuple(Flag(name, _HELP[name], kind) for name, (_, kind) in _SETTINGS.items()),
    ),
    ("operator", "autopilot", "state"): Command(
        usage="operator autopilot state [options]",
        help="Displays how the leader judges the servers, and what they wait for.",
        run=_state,
        server=True,
        flags=(Flag("format", "pretty or json.", default="pretty"),),
    ),
}
