"""`/v1/query/`: prepared queries. None can be made yet, so every one is unknown (contract 14)."""

from __future__ import annotations

from agent.errors import RequestError
from agent.http.call import Call
from agent.http.reply import Reply


async def read(_call: Call) -> Reply:
    """Read, execute or explain a query."""
    raise RequestError(404, "Query not found")


async def write(call: Call) -> Reply:
    """Change or delete a query."""
    raise RequestError(500, f"Cannot modify non-existent prepared query: '{call.rest}'")
