"""`/v1/event/`: fire user events, and list the last ones (http-api contract 13)."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Callable

from agent.acl.authorizer import READ, WRITE
from agent.acl.caller import Need
from agent.backend import Ask
from agent.errors import RequestError
from agent.events.event import UserEvent, validated
from agent.events.log import EventLog
from agent.http.call import Call
from agent.http.parse import several
from agent.http.reply import Reply
from gossip import UserEventTooLong
from gossip.patterns import Pattern, PatternError, compile_pattern
from raftstore.records import Json


def _log(call: Call) -> EventLog:
    events = call.context.events
    if events is None:
        raise RequestError(500, "This agent has no user events")
    return events


def shown(event: UserEvent) -> dict[str, Json]:
    """An event as clients see it."""
    return {
        "ID": event.id,
        "Name": event.name,
        "Payload": base64.b64encode(event.payload).decode() if event.payload else None,
        "NodeFilter": event.node_filter,
        "ServiceFilter": event.service_filter,
        "TagFilter": event.tag_filter,
        "Version": event.version,
        "LTime": event.ltime,
    }


async def fire(call: Call) -> Reply:
    """Tell every agent of the datacenter; the body is the payload."""
    if not call.rest:
        raise RequestError(400, "Missing name")
    call.require(Need("event", WRITE, call.rest))
    params = call.params
    made = uuid.UUID(int=call.context.rng.getrandbits(128), version=4)
    event = validated(
        UserEvent(
            id=str(made),
            name=call.rest,
            payload=call.body,
            node_filter=params.get("node"),
            service_filter=params.get("service"),
            tag_filter=params.get("tag"),
        )
    )
    call.check_datacenter()
    try:
        _log(call).fire(event)
    except UserEventTooLong as error:
        reason = f'error broadcasting event to segment "": {error}'
        raise RequestError(500, several([reason])) from None
    return call.json(shown(event))


async def list_all(call: Call) -> Reply:
    """The last events that concern this agent, oldest first; held while the index is the same."""
    options = call.options()
    keep = _keep(call)
    log = _log(call)
    if options.min_index:
        with call.waiting.place():
            try:
                await _until_changed(log, keep, options)
            except asyncio.CancelledError:
                call.waiting.raise_if_stopping()
                raise
    found, index = log.list(keep)
    headers = (f"X-Consul-Index: {index}",)
    return call.json([shown(event) for event in found], headers=headers)


async def _until_changed(log: EventLog, keep: Callable[[UserEvent], bool], options: Ask) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + options.wait_s
    while log.list(keep)[1] == options.min_index and loop.time() < deadline:
        changed = asyncio.Event()
        cancel = log.watch_once(changed.set)
        try:
            async with asyncio.timeout_at(deadline):
                await changed.wait()
        except TimeoutError:
            return
        finally:
            cancel()


def _keep(call: Call) -> Callable[[UserEvent], bool]:
    """``name`` is compared; the others are patterns for the events' own filters."""
    name = call.params.get("name")
    node, service, tag = (_pattern(call, what) for what in ("node", "service", "tag"))

    def keep(event: UserEvent) -> bool:
        return (
            call.may("event", READ, event.name)
            and (not name or event.name == name)
            and _concerns(node, event.node_filter)
            and _concerns(service, event.service_filter)
            and _concerns(tag, event.tag_filter)
        )

    return keep


def _concerns(pattern: Pattern | None, meant: str) -> bool:
    """Whether an event is for what is asked about; one that says nothing of it is for all."""
    return pattern is None or not meant or pattern.search(meant)


def _pattern(call: Call, what: str) -> Pattern | None:
    text = call.params.get(what)
    if not text:
        return None
    try:
        return compile_pattern(text)
    except PatternError as error:
        raise RequestError(400, f"Invalid {what} filter: {error}") from None
