"""`/v1/acl/` while access control is off: every call says so (contract 1.3, 19)."""

from __future__ import annotations

from agent.errors import RequestError
from agent.http.call import Call
from agent.http.reply import Reply


async def disabled(_call: Call) -> Reply:
    """401, whatever was asked."""
    raise RequestError(401, "ACL support disabled")
