"""`/v1/operator/`: what an operator asks of the servers (contract 18)."""

from __future__ import annotations

import inspect

from agent.errors import RequestError
from agent.http import parse_operator, render_operator
from agent.http.call import Call
from agent.http.params import parse_uint
from agent.http.reply import Reply
from raftstore.commands import SetAutopilot
from raftstore.queries import GetAutopilot
from raftstore.records import AutopilotConfig


async def raft_configuration(call: Call) -> Reply:
    """The Raft servers, who leads, who votes."""
    call.check_datacenter()
    call.options()
    status = call.context.raft_status()
    if inspect.isawaitable(status):
        status = await status
    return call.json(dict(status))


async def raft_peer(call: Call) -> Reply:
    """Take a server out of the Raft configuration."""
    node_id, address = call.params.get("id"), call.params.get("address")
    if not node_id and not address:
        raise RequestError(
            400,
            "Bad request: Must specify either ?id with the server's ID or ?address with IP:port "
            "of peer to remove",
        )
    if node_id and address:
        raise RequestError(400, "Bad request: Must specify only one of ?id or ?address")
    call.check_datacenter()
    await call.context.operations.remove_server(node_id=node_id, address=address)
    return Reply()


async def transfer_leader(call: Call) -> Reply:
    """Hand leadership to another voter."""
    call.check_datacenter()
    await call.context.operations.transfer_leadership(call.params.get("id"))
    return call.json({"Success": True})


async def autopilot_get(call: Call) -> Reply:
    """The autopilot's configuration."""
    found = await call.ask(GetAutopilot())
    return call.json(render_operator.autopilot_config(found.value or AutopilotConfig()))


async def autopilot_put(call: Call) -> Reply:
    """Replace the autopilot's configuration, by compare-and-set if asked."""
    cas = _cas(call) if "cas" in call.params else None
    config = parse_operator.autopilot_config(call.body)
    return call.json(bool(await call.change(SetAutopilot(config=config, cas=cas))))


def _cas(call: Call) -> int:
    try:
        return parse_uint(call.params.get("cas"))
    except RequestError as error:
        raise RequestError(400, f"Bad request: Error parsing cas value: {error.text}") from None


async def autopilot_health(call: Call) -> Reply:
    """How the servers are; 429 when one of them is not well."""
    call.check_datacenter()
    state = await call.context.operations.autopilot_state()
    shown = render_operator.autopilot_health(state)
    return call.json(shown, status=200 if state.healthy else 429)


async def autopilot_state(call: Call) -> Reply:
    """All that the leader knows of the servers."""
    call.check_datacenter()
    state = await call.context.operations.autopilot_state()
    return call.json(render_operator.autopilot_state(state))
