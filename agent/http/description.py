"""`/v1/openapi.json`: the description of this API (ours)."""

from __future__ import annotations

import asyncio
import functools

from agent.http.call import Call
from agent.http.reply import JSON_TYPE, Reply, json_bytes


async def openapi(_call: Call) -> Reply:
    """The API in OpenAPI 3.1."""
    # Made once, in a thread: it takes longer than the loop should be held.
    return Reply(await asyncio.to_thread(_document), JSON_TYPE)


@functools.cache
def _document() -> bytes:
    # Looked up at the first request: this is part of the table that is described.
    from agent.http.openapi import document
    from agent.http.routes import ROUTES

    return json_bytes(document(ROUTES))
