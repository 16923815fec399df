"""`/v1/operator/`: what an operator asks of the servers (contract 18)."""

from __future__ import annotations

import inspect

from agent.http.call import Call
from agent.http.reply import Reply


async def raft_configuration(call: Call) -> Reply:
    """The Raft servers, who leads, who votes."""
    call.check_datacenter()
    call.options()
    status = call.context.raft_status()
    if inspect.isawaitable(status):
        status = await status
    return call.json(dict(status))
