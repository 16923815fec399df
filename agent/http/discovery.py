"""`/v1/discovery/prometheus`: instances as targets of Prometheus' `http_sd` (ours).

The labels are those of Prometheus' own discovery of Consul, so rules about them stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping

from agent.backend import Ask
from agent.backend import Reply as Answered
from agent.errors import RequestError
from agent.filters import compile_filter
from agent.http import filter_fields, render
from agent.http.call import FAILED_READ, Call
from agent.http.params import has_meta, node_meta, parse_bool
from agent.http.reply import Reply
from agent.http.ui_summary import entries_of, worst
from raftstore.catalog_queries import DumpNodes
from raftstore.queries import HealthEntry, HealthService
from raftstore.records import PASSING, Json, ServiceName
from raftstore.slices import in_slices

#: Services that are asked for by name in one request.
SERVICES_MAX = 256
_AT_ONCE = 128
#: What may not stand in the name of a label.
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")

Keep = Callable[[HealthEntry], bool]


async def prometheus(call: Call) -> Reply:
    """A group of targets for each instance."""
    options = call.options()
    call.failure_headers = FAILED_READ
    keep = _keep(call)
    names = tuple(dict.fromkeys(name for name in call.params.all("service") if name))
    if len(names) > SERVICES_MAX:
        raise RequestError(400, f"More than {SERVICES_MAX} services in one request")
    datacenter = call.context.config.datacenter
    entries: Iterable[HealthEntry]
    if len(names) == 1:
        one = await call.ask(HealthService(service=ServiceName(names[0])), options)
        entries, headers = one.value, call.read_headers(one)
    elif names:
        found = await _asked(call, names, options)
        entries = [entry for answer in found for entry in answer.value]
        headers = call.read_headers(min(found, key=lambda answer: answer.index))
    else:
        dump = await call.ask(DumpNodes(), options)
        entries, headers = entries_of(dump.value), call.read_headers(dump)
    kept = await in_slices(_kept(entries, keep))
    return call.listing(kept, lambda entry: group(entry, datacenter), headers=headers)


async def _asked(
    call: Call, names: tuple[str, ...], options: Ask
) -> list[Answered[tuple[HealthEntry, ...]]]:
    """Each service by itself. Nothing is waited for: there would be an index for each."""
    now = Ask(consistency=options.consistency, max_stale_s=options.max_stale_s, at=options.at)
    return [await call.ask(HealthService(service=ServiceName(name)), now) for name in names]


def _keep(call: Call) -> Keep:
    params = call.params
    wish = True if not params.get("passing") else parse_bool(params.get("passing"))
    if wish is None:
        raise RequestError(400, "Invalid value for ?passing")
    passing = wish and "passing" in params
    meta, tags = node_meta(params), {tag.lower() for tag in params.all("tag") if tag}
    expression = params.get("filter")
    wanted = compile_filter(expression, filter_fields.HEALTH_ENTRY) if expression else None

    def keep(entry: HealthEntry) -> bool:
        return (
            (not passing or all(check.status == PASSING for check in entry.checks))
            and (not meta or has_meta(entry.node.meta, meta))
            and (not tags or tags <= {tag.lower() for tag in entry.service.tags})
            and (wanted is None or wanted(render.health_entry(entry)))
        )

    return keep


def _kept(entries: Iterable[HealthEntry], keep: Keep) -> Generator[None, None, list[HealthEntry]]:
    found: list[HealthEntry] = []
    for number, entry in enumerate(entries, start=1):
        if keep(entry):
            found.append(entry)
        if number % _AT_ONCE == 0:
            yield
    return found


def group(entry: HealthEntry, datacenter: str) -> Json:
    """One instance: where it is, and what is known of it."""
    node, service = entry.node, entry.service
    host = service.address or node.address
    shown = f"[{host}]" if ":" in host else host
    labels = {
        "address": node.address,
        "dc": node.datacenter or datacenter,
        "health": worst(check.status for check in entry.checks),
        "node": node.name,
        "service": service.name,
        "service_address": service.address,
        "service_id": service.id,
        "service_port": str(service.port),
        # With a comma on either side, so that a pattern finds a whole tag.
        "tags": f",{','.join(service.tags)}," if service.tags else "",
        **_prefixed("metadata", node.meta),
        **_prefixed("service_metadata", service.meta),
        **_prefixed("tagged_address", node.tagged_addresses),
    }
    return {
        "targets": [f"{shown}:{service.port}"],
        "labels": {f"__meta_consul_{name}": value for name, value in labels.items()},
    }


def _prefixed(prefix: str, values: Mapping[str, str] | None) -> dict[str, str]:
    return {f"{prefix}_{_NO_LABEL.sub('_', key)}": value for key, value in (values or {}).items()}
