"""`operator raft`: the Raft cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.cli.command import Call, Command, columns


def _list_peers(call: Call) -> int:
    from agent.cli.client import ClientError

    try:
        found = call.client().read("/v1/operator/raft/configuration")
    except ClientError as error:
        return call.fail(f"Error getting peers: Failed to retrieve raft configuration: {error}")
    call.say(peers_table(found))
    return 0


def peers_table(configuration: Mapping[str, Any]) -> str:
    """The table of Raft's servers."""
    rows: list[tuple[str, ...]] = [("Node", "ID", "Address", "State", "Voter", "RaftProtocol")]
    for server in configuration.get("Servers") or ():
        state = "leader" if server.get("Leader") else "follower"
        voter = str(bool(server.get("Voter"))).lower()
        protocol = server.get("ProtocolVersion") or "<=1"
        rows.append((server["Node"], server["ID"], server["Address"], state, voter, protocol))
    return columns(rows)


COMMANDS = {
    ("operator", "raft", "list-peers"): Command(
        usage="operator raft list-peers [options]",
        help="Displays the servers of the Raft cluster.",
        run=_list_peers,
        server=True,
    ),
}
