"""Asks other datacenters what DNS answers and prepared queries need of them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from agent.backend import Ask
from agent.errors import AgentError, ForwardError
from agent.queries import NOWHERE, Datacenters, Elsewhere
from agent.wan.ways import UnknownDatacenter, Way
from raftstore.errors import StoreError

log = logging.getLogger("lictor.agent.wan")


async def told(
    way: Way | None,
    question: Elsewhere | Datacenters,
    options: Ask,
    *,
    secret: str,
    timeout_s: float,
) -> Any:
    """The value of an answer; NOWHERE for a datacenter that nobody knows.

    Raises what ``Way.ask`` does, save for a lenient question, which then has the answer None.
    """
    if isinstance(question, Datacenters):
        return [] if way is None else await way.datacenters()
    if way is None:
        return None if question.lenient else NOWHERE
    datacenter, query = question.datacenter, question.query
    try:
        async with asyncio.timeout(timeout_s):
            found = await way.ask(datacenter, query, options, secret=secret, timeout_s=timeout_s)
        return found.value
    except UnknownDatacenter:
        return None if question.lenient else NOWHERE
    except (AgentError, StoreError, TimeoutError) as error:
        log.debug("datacenter not asked datacenter=%s error=%s", datacenter, error)
        if question.lenient:
            return None
        if isinstance(error, TimeoutError):
            raise ForwardError(f"datacenter {datacenter} is silent", definite=True) from None
        raise
