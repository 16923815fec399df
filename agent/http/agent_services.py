"""`/v1/agent/service*`: the services of this host (http-api contract 8)."""

from __future__ import annotations

import asyncio

from agent.errors import RequestError
from agent.filters import compile_filter
from agent.http import filter_fields, parse, render
from agent.http.agent import enable_of, parameter
from agent.http.call import Call, done, text
from agent.http.local_needs import (
    may_change_service,
    may_register,
    sees_service,
    service_read,
    with_own_token,
)
from agent.http.params import jittered, wait_seconds
from agent.http.reply import Reply, header
from raftstore.records import ServiceId


async def list_all(call: Call) -> Reply:
    """The services registered here, by id."""
    datacenter = call.context.config.datacenter
    expression = call.params.get("filter")
    filtered = compile_filter(expression, filter_fields.SERVICE) if expression else None
    local = call.context.local
    call.consulted = True
    return call.mapping(
        {**local.services()},
        lambda service: render.agent_service(local.merged(service), datacenter),
        keep=lambda service: sees_service(call, service),
        filtered=filtered,
    )


async def get(call: Call) -> Reply:
    """One service; with ``hash`` held until its content differs from that."""
    service_id = ServiceId(parameter(call))
    wait_s = wait_seconds(call.params)
    wanted = call.params.get("hash")
    deadline: float | None = None
    loop = asyncio.get_running_loop()
    while True:
        service = call.context.local.services().get(service_id)
        if service is None:
            return text(f"unknown service ID: {service_id}", status=404)
        call.require(service_read(service.name))
        whole = call.context.local.merged(service)
        shown = render.agent_service(whole, call.context.config.datacenter)
        content_hash = render.content_hash(shown)
        now = loop.time()
        if deadline is None:
            config = call.context.config
            limited = min(
                wait_s if wait_s > 0 else config.max_query_time_s, config.max_query_time_s
            )
            deadline = now + jittered(limited, call.context.rng)
        if not wanted or content_hash != wanted or now >= deadline:
            break
        await _local_change(call, deadline - now)
    shown["ContentHash"] = content_hash
    return call.json(shown, headers=(header("X-Consul-Contenthash", content_hash),))


async def _local_change(call: Call, timeout_s: float) -> None:
    """Wait until anything local changes, or the time is up."""
    changed = asyncio.Event()
    with call.waiting.place():
        cancel = call.context.local.watch_once(changed.set)
        try:
            async with asyncio.timeout(timeout_s):
                await changed.wait()
        except TimeoutError:
            return
        except asyncio.CancelledError:
            call.waiting.raise_if_stopping()
            raise
        finally:
            cancel()


async def register(call: Call) -> Reply:
    """Register a service here."""
    definition = parse.service_definition(call.body)
    if not definition.name:
        raise RequestError(400, "Missing service name")
    may_register(call, definition)
    definition = with_own_token(call, definition)
    replace = call.params.flag("replace-existing-checks")
    await call.context.local.register_service(definition, replace_existing_checks=bool(replace))
    return done()


async def deregister(call: Call) -> Reply:
    """Forget a service; an unknown one is no error while access control is off."""
    service_id = parameter(call)
    if not service_id:
        raise RequestError(500, "ServiceID missing")
    may_change_service(call, service_id)
    await call.context.local.deregister_service(ServiceId(service_id))
    return done()


async def maintenance(call: Call) -> Reply:
    """Put one service into maintenance, or out of it."""
    service_id = parameter(call)
    if not service_id:
        raise RequestError(400, "Missing service ID")
    enable = enable_of(call)
    if ServiceId(service_id) not in call.context.local.services():
        raise RequestError(404, f'No service registered with ID "{service_id}"')
    may_change_service(call, service_id)
    reason = call.params.get("reason")
    await call.context.local.set_service_maintenance(ServiceId(service_id), enable, reason)
    return done()
