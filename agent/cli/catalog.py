"""`catalog`: datacenters, nodes and services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.cli.command import FORMAT, NAMESPACE_FLAGS, Call, Command, columns
from agent.cli.flags import Flag, Kind

_ID_SHOWN = 8
#: Spaces between the two columns of `services -tags`.
_TAG_GAP = 6
_META = Flag("node-meta", "Only nodes with this metadata; may be repeated.", Kind.MAP)


def _unwanted(call: Call) -> int | None:
    if call.args:
        return call.fail(f"Too many arguments (expected 0, got {len(call.args)})")
    return None


def _datacenters(call: Call) -> int:
    from agent.cli.client import ClientError

    if (status := _unwanted(call)) is not None:
        return status
    try:
        found = call.client().read("/v1/catalog/datacenters")
    except ClientError as error:
        return call.fail(f"Error listing datacenters: {error}")
    return call.show(found or [], lambda: "\n".join(found or ()))


def _meta(call: Call) -> list[tuple[str, str]]:
    return [("node-meta", f"{key}:{value}") for key, value in call.flags["node-meta"].items()]


def _nodes(call: Call) -> int:
    from agent.cli.client import ClientError

    if (status := _unwanted(call)) is not None:
        return status
    service = call.flags.text("service")
    query = _meta(call)
    query += [(n, call.flags.text(n)) for n in ("near", "filter") if call.flags.text(n)]
    path = f"/v1/catalog/service/{service}" if service else "/v1/catalog/nodes"
    try:
        found = call.client().read(path, query)
    except ClientError as error:
        return call.fail(f"Error listing nodes: {error}")
    if not found and call.flags.text("format") != "json":
        call.fail("No nodes match the given query - try expanding your search.")
        return 0
    return call.show(found or [], lambda: nodes_table(found, detailed=call.flags["detailed"]))


def nodes_table(nodes: Iterable[Mapping[str, Any]], *, detailed: bool) -> str:
    """The table of nodes; ``detailed`` adds the whole id, addresses and metadata."""
    head: list[str] = ["Node", "ID", "Address", "DC"]
    rows: list[Sequence[str]] = [[*head, "TaggedAddresses", "Meta"] if detailed else head]
    for node in nodes:
        node_id = node.get("ID") or ""
        row = [node["Node"], node_id if detailed else node_id[:_ID_SHOWN]]
        row += [node.get("Address", ""), node.get("Datacenter", "")]
        if detailed:
            meta = node.get("Meta") if "Meta" in node else node.get("NodeMeta")
            row += [_pairs(node.get("TaggedAddresses")), _pairs(meta)]
        rows.append(row)
    return columns(rows)


def _pairs(values: Mapping[str, str] | None) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted((values or {}).items()))


def _services(call: Call) -> int:
    from agent.cli.client import ClientError

    if (status := _unwanted(call)) is not None:
        return status
    node = call.flags.text("node")
    try:
        if node:
            found = call.client().read(f"/v1/catalog/node/{node}", _meta(call))
            services = node_services(found)
        else:
            services = call.client().read("/v1/catalog/services", _meta(call))
    except ClientError as error:
        return call.fail(f"Error listing services: {error}")
    if not services and call.flags.text("format") != "json":
        call.fail("No services match the given query - try expanding your search.")
        return 0
    return call.show(services, lambda: services_text(services, tags=call.flags["tags"]))


def node_services(answer: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Tags by service of one node; instances of the same service are joined."""
    found: dict[str, list[str]] = {}
    for service in ((answer or {}).get("Services") or {}).values():
        found.setdefault(service["Service"], []).extend(service.get("Tags") or ())
    return found


def services_text(services: Mapping[str, Sequence[str]], *, tags: bool) -> str:
    """Names one a line, with their sorted tags in a second column if wanted."""
    if not tags:
        return "\n".join(sorted(services))
    width = max(len(name) for name in services) + _TAG_GAP
    return "\n".join(
        name.ljust(width) + ",".join(sorted(services[name] or ())) for name in sorted(services)
    )


COMMANDS = {
    ("catalog", "datacenters"): Command(
        usage="catalog datacenters [options]",
        help="Lists all known datacenters, the nearest first.",
        run=_datacenters,
        server=True,
        flags=(FORMAT,),
    ),
    ("catalog", "nodes"): Command(
        usage="catalog nodes [options]",
        help="Lists the nodes of a datacenter, all of them or those with a service.",
        run=_nodes,
        server=True,
        flags=(
            Flag("detailed", "Show whole ids, addresses and metadata.", Kind.BOOL),
            FORMAT,
            Flag("filter", "Only nodes for which this expression holds."),
            Flag("near", "Sort by round-trip time from this node; _agent for the agent's own."),
            _META,
            Flag("service", "Only nodes with an instance of this service."),
        ),
    ),
    ("catalog", "services"): Command(
        usage="catalog services [options]",
        help="Lists the services of a datacenter.",
        run=_services,
        server=True,
        flags=(
            FORMAT,
            Flag("node", "Only services of this node."),
            _META,
            Flag("tags", "Show each service's tags.", Kind.BOOL),
            *NAMESPACE_FLAGS,
        ),
    ),
}
