"""`operator usage instances`: how many services and instances there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.cli.command import Call, Command, columns
from agent.cli.flags import Flag, Kind

_Usage = Mapping[str, Mapping[str, Any]]


def _instances(call: Call) -> int:
    from agent.cli.client import ClientError

    flags = call.flags
    if call.args:
        return call.fail(f"Too many arguments (expected 0, got {len(call.args)})")
    if flags["billable"] and flags["connect"]:
        return call.fail("Only one of -billable or -connect may be provided")
    query = [("global", "")] if flags["all-datacenters"] else []
    try:
        found = call.client().read("/v1/operator/usage", query)
    except ClientError as error:
        return call.fail(f"Error fetching usage: {error}")
    usage: _Usage = found.get("Usage") or {}
    if not flags["connect"]:
        call.say(billable_text(usage, everywhere=flags["all-datacenters"]))
    if not flags["billable"]:
        gap = "" if flags["connect"] else "\n"
        call.say(f"{gap}Connect Services")
        call.say(connect_table(usage, everywhere=flags["all-datacenters"]))
    return 0


def billable_text(usage: _Usage, *, everywhere: bool) -> str:
    """Totals, then the table of services and their instances outside of the mesh."""
    total = sum(counts["BillableServiceInstances"] for counts in usage.values())
    lines = [f"Billable Service Instances Total: {total}"]
    lines += [
        f"{name} Billable Service Instances: {usage[name]['BillableServiceInstances']}"
        for name in sorted(usage)
    ]
    place = ("Datacenter",) if everywhere else ()
    rows: list[tuple[Any, ...]] = [(*place, "Services", "Service instances")]
    for name in sorted(usage):
        counts = usage[name]
        shown = (counts["Services"], counts["BillableServiceInstances"])
        rows.append((name, *shown) if everywhere else shown)
    if everywhere:
        services = sum(counts["Services"] for counts in usage.values())
        rows += [("", "", ""), ("Total", services, total)]
    return "\n".join([*lines, "", "Billable Services", columns(rows)])


def connect_table(usage: _Usage, *, everywhere: bool) -> str:
    """Instances of the mesh by their kind."""
    place = ("Datacenter",) if everywhere else ()
    rows: list[tuple[Any, ...]] = [(*place, "Type", "Service instances")]
    total = 0
    for name in sorted(usage):
        for kind, count in sorted(usage[name]["ConnectServiceInstances"].items()):
            rows.append((name, kind, count) if everywhere else (kind, count))
            total += count
    if everywhere:
        rows += [("", "", ""), ("Total", "", total)]
    return columns(rows)


COMMANDS = {
    ("operator", "usage", "instances"): Command(
        usage="operator usage instances [options]",
        help="Counts services and their instances, outside of the mesh and in it.",
        run=_instances,
        server=True,
        flags=(
            Flag("all-datacenters", "Count in every datacenter.", Kind.BOOL),
            Flag("billable", "Show only what is outside of the mesh.", Kind.BOOL),
            Flag("connect", "Show only what is in the mesh.", Kind.BOOL),
        ),
    ),
}
