"""`operator raft`: the Raft cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.cli.command import Call, Command, columns
from agent.cli.flags import Flag


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


def _remove_peer(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    address, node_id = call.flags.text("address"), call.flags.text("id")
    if not address and not node_id:
        return call.fail("Error removing peer: an address or id is required for the peer to remove")
    if address and node_id:
        return call.fail("Error removing peer: cannot give both an address and id")
    query = [("address", address)] if address else [("id", node_id)]
    try:
        expect(call.client().delete("/v1/operator/raft/peer", query))
    except ClientError as error:
        return call.fail(f"Error removing peer: {error}")
    by = f'address "{address}"' if address else f'id "{node_id}"'
    call.say(f"Removed peer with {by}")
    return 0


def _transfer_leader(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    node_id = call.flags.text("id")
    query = [("id", node_id)] if node_id else []
    try:
        done = expect(call.client().request("POST", "/v1/operator/raft/transfer-leader", query))
        if not done.json().get("Success"):
            return call.fail("Error transferring leader: no success")
    except ClientError as error:
        return call.fail(f"Error transferring leader: {error}")
    call.say("Success")
    return 0


COMMANDS = {
    ("operator", "raft", "list-peers"): Command(
        usage="operator raft list-peers [options]",
        help="Displays the servers of the Raft cluster.",
        run=_list_peers,
        server=True,
    ),
    ("operator", "raft", "remove-peer"): Command(
        usage="operator raft remove-peer [options]",
        help="Removes a server from the Raft cluster: one that is gone for good and was not cleaned"
        "\nup by itself. A server that still runs is told to leave with `leave` instead.",
        run=_remove_peer,
        server=True,
        flags=(
            Flag("address", 'The server\'s address "ip:port" as `list-peers` shows it.'),
            Flag("id", "The server's id as `list-peers` shows it."),
        ),
    ),
    ("operator", "raft", "transfer-leader"): Command(
        usage="operator raft transfer-leader [options]",
        help="Hands leadership to another voting server. Writes wait meanwhile; none is lost.",
        run=_transfer_leader,
        server=True,
        flags=(Flag("id", "Id of the server to lead; the best one by default."),),
    ),
}
