"""`rtt`: how long a round trip between two nodes is likely to take, from network coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agent.cli.command import Call, Command, help_text
from agent.cli.flags import Flag, Kind
from agent.distance import CoordinateError, distance_s, from_json


def _rtt(call: Call) -> int:
    from agent.cli.client import ClientError

    if not 1 <= len(call.args) <= 2:
        text = "One or two node names must be specified"
        return call.fail(f"{text}\n\n{help_text(call.program, COMMANDS[('rtt',)])}".rstrip())
    client = call.client()
    wan = call.flags["wan"]
    names = list(call.args)
    try:
        if wan and any("." not in name for name in names):
            return call.fail("Node names must be specified as <node name>.<datacenter> with -wan")
        if len(names) == 1:
            try:
                own = client.read("/v1/agent/self")["Config"]
            except ClientError as error:
                return call.fail(f"Unable to look up agent info: {error}")
            name = own["NodeName"]
            names.append(f"{name}.{own['Datacenter']}" if wan else name)
        known = (
            _wan(client.read("/v1/coordinate/datacenters"))
            if wan
            else _lan(client.read("/v1/coordinate/nodes"))
        )
    except ClientError as error:
        return call.fail(f"Error getting coordinates: {error}")
    missing = [name for name in names if name not in known]
    if missing:
        # Two servers have to be of one area; without that the reference misses the first.
        lost = names[0] if wan else missing[0]
        return call.fail(f'Could not find a coordinate for node "{lost}"')
    try:
        estimate_s = distance_s(*(from_json(known[name]) for name in names))
    except CoordinateError as error:
        return call.fail(f"Error getting coordinates: {error}")
    pool = "WAN" if wan else "LAN"
    shown = f"{estimate_s * 1000:.3f} ms (using {pool} coordinates)"
    call.say(f"Estimated {names[0]} <-> {names[1]} rtt: {shown}")
    return 0


def _lan(nodes: Iterable[Mapping[str, Any]] | None) -> dict[str, Any]:
    return {each["Node"]: each["Coord"] for each in nodes or () if not each.get("Segment")}


def _wan(datacenters: Iterable[Mapping[str, Any]] | None) -> dict[str, Any]:
    return {
        f"{each['Node']}.{datacenter['Datacenter']}": each["Coord"]
        for datacenter in datacenters or ()
        for each in datacenter["Coordinates"] or ()
    }


COMMANDS: dict[tuple[str, ...], Command] = {
    ("rtt",): Command(
        usage="rtt [options] NODE1 [NODE2]",
        help="Estimates the round trip between two nodes, or between one and the agent that is\n"
        "asked, from the network coordinates that agents keep of themselves.",
        run=_rtt,
        flags=(Flag("wan", "Names are NODE.DATACENTER; servers only.", Kind.BOOL),),
    ),
}
