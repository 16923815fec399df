"""`operator raft`: the Raft cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.cli.command import Call, Command, columns
from agent.cli.flags import Flag, Kind


def _list_peers(call: Call) -> int:
    from agent.cli.client import ClientError

    client = call.client()
    indexes: Mapping[str, int] | None = None
    try:
        found = client.read("/v1/operator/raft/configuration")
        if call.flags["detailed"]:
            servers = client.read("/v1/operator/autopilot/health").get("Servers") or ()
            indexes = {server["ID"]: server["LastIndex"] for server in servers}
    except ClientError as error:
        return call.fail(f"Error getting peers: Failed to retrieve raft configuration: {error}")
    call.say(peers_table(found, indexes))
    return 0


def peers_table(configuration: Mapping[str, Any], indexes: Mapping[str, int] | None = None) -> str:
    """The table of Raft's servers; with ``indexes``, by id, also how far each has come."""
    rows: list[tuple[str, ...]] = [("Node", "ID", "Address", "State", "Voter", "RaftProtocol")]
    servers = configuration.get("Servers") or ()
    leaders = [server["ID"] for server in servers if server.get("Leader")]
    ahead = max((indexes.get(key, 0) for key in leaders), default=0) if indexes else 0
    if indexes is not None:
        rows = [(*rows[0], "Commit Index", "Trails Leader By")]
    for server in servers:
        state = "leader" if server.get("Leader") else "follower"
        voter = str(bool(server.get("Voter"))).lower()
        protocol = server.get("ProtocolVersion") or "<=1"
        row: tuple[str, ...] = (
            server["Node"],
            server["ID"],
            server["Address"],
            state,
            voter,
            protocol,
        )
        if indexes is not None:
            row += _progress(indexes.get(server["ID"]), ahead, leads=state == "leader")
        rows.append(row)
    return columns(rows)


def _progress(index: int | None, ahead: int, *, leads: bool) -> tuple[str, str]:
    """How far a server has come, and how far behind the leader that is."""
    if index is None:
        return "-", "-"
    behind = max(0, ahead - index)
    return str(index), "-" if leads else f"{behind} commit{'' if behind == 1 else 's'}"


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
        flags=(Flag("detailed", "Also how far each server's log has come.", Kind.BOOL),),
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
