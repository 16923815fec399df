"""`members`, `join`, `leave`, `force-leave`, `reload`: the agent and its cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agent.cli.command import FORMAT, Call, Command, columns, help_text
from agent.cli.flags import Flag, Kind
from gossip.patterns import PatternError, compile_pattern

_STATUS = {0: "none", 1: "alive", 2: "leaving", 3: "left", 4: "failed"}
_NOBODY_STATUS = 2
_WAN = Flag("wan", "Use the WAN pool of servers.", Kind.BOOL)


def _members(call: Call) -> int:
    from agent.cli.client import ClientError

    try:
        wanted = compile_pattern(call.flags.text("status"))
    except PatternError as error:
        return call.fail(f"Failed to compile status regexp: {error}")
    query = [("segment", call.flags.text("segment"))]
    if call.flags["wan"]:
        query.append(("wan", "1"))
    try:
        found = call.client().read("/v1/agent/members", query)
    except ClientError as error:
        return call.fail(f"Error retrieving members: {error}")
    chosen = [m for m in found or () if wanted.search(_STATUS.get(m["Status"], "unknown"))]
    if not chosen:
        return _NOBODY_STATUS
    return call.show(chosen, lambda: members_table(chosen, detailed=call.flags["detailed"]))


def members_table(members: Iterable[Mapping[str, Any]], *, detailed: bool) -> str:
    """The table of members: servers first, then by segment and name."""
    prepared = sorted(
        ({**member, "Tags": _tags(member["Tags"])} for member in members),
        key=lambda m: (m["Tags"].get("role") != "consul", m["Tags"]["segment"], m["Name"]),
    )
    if detailed:
        rows = [("Node", "Address", "Status", "Tags")]
        rows += [(*_who(member), _joined(member["Tags"])) for member in prepared]
        return columns(rows)
    table: list[tuple[str, ...]] = [
        ("Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment")
    ]
    for member in prepared:
        tags = member["Tags"]
        kind = {"node": "client", "consul": "server"}.get(tags.get("role", ""), "unknown")
        build = tags.get("build", "").partition(":")[0] or "< 0.3"
        row = (kind, build, tags.get("vsn", ""), tags.get("dc", ""), tags["segment"])
        table.append((*_who(member), *row))
    return columns(table)


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags with a segment that can be shown: servers are in all of them."""
    segment = tags.get("segment", "")
    if not segment:
        segment = "<all>" if tags.get("role") == "consul" else "<default>"
    return {**tags, "segment": segment}


def _who(member: Mapping[str, Any]) -> tuple[str, str, str]:
    address = f"[{member['Addr']}]" if ":" in member["Addr"] else member["Addr"]
    status = _STATUS.get(member["Status"], "unknown")
    return member["Name"], f"{address}:{member['Port']}", status


def _joined(tags: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(tags.items()))


def _join(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if not call.args:
        return _misused(call, ("join",), "At least one address to join must be specified.")
    client = call.client()
    query = [("wan", "1")] if call.flags["wan"] else []
    joined = 0
    for address in call.args:
        try:
            expect(client.put(f"/v1/agent/join/{address}", query))
            joined += 1
        except ClientError as error:
            call.fail(f"Error joining address '{address}': {error}")
    if not joined:
        return call.fail("Failed to join any nodes.")
    call.say(f"Successfully joined cluster by contacting {joined} nodes.")
    return 0


def _misused(call: Call, path: tuple[str, ...], text: str) -> int:
    return call.fail(f"{text}\n\n{help_text(call.program, COMMANDS[path])}".rstrip())


def _leave(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if call.args:
        call.fail(f"Error found unexpected args: [{' '.join(call.args)}]")
        call.say(help_text(call.program, COMMANDS[("leave",)]))
        return 1
    try:
        expect(call.client().put("/v1/agent/leave"))
    except ClientError as error:
        return call.fail(f"Error leaving: {error}")
    call.say("Graceful leave complete")
    return 0


def _force_leave(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if len(call.args) != 1:
        return _misused(
            call, ("force-leave",), "A single node name must be specified to force leave."
        )
    query = [(name, "1") for name in ("prune", "wan") if call.flags[name]]
    try:
        expect(call.client().put(f"/v1/agent/force-leave/{call.args[0]}", query))
    except ClientError as error:
        return call.fail(f"Error force leaving: {error}")
    return 0


def _reload(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    try:
        expect(call.client().put("/v1/agent/reload"))
    except ClientError as error:
        return call.fail(f"Error reloading: {error}")
    call.say("Configuration reload triggered")
    return 0


COMMANDS: dict[tuple[str, ...], Command] = {
    ("members",): Command(
        usage="members [options]",
        help="Lists the members of the cluster that the agent knows by gossip.",
        run=_members,
        flags=(
            FORMAT,
            Flag("detailed", "Show all tags.", Kind.BOOL),
            Flag("segment", "Show members of one segment only.", default="_all"),
            Flag("status", "Show members with a status that fits this pattern.", default=".*"),
            _WAN,
        ),
    ),
    ("join",): Command(
        usage="join [options] ADDRESS...",
        help="Tells the agent to join a cluster by contacting at least one of its members.",
        run=_join,
        flags=(_WAN,),
    ),
    ("leave",): Command(
        usage="leave [options]",
        help="Has the agent leave its cluster gracefully and stop.",
        run=_leave,
    ),
    ("force-leave",): Command(
        usage="force-leave [options] NODE",
        help="Puts a failed member into the left state, so that its catalog entry goes at once.",
        run=_force_leave,
        flags=(
            Flag("prune", "Drop the member from the list as well.", Kind.BOOL),
            Flag("wan", "Only in the WAN pool of servers.", Kind.BOOL),
        ),
    ),
    ("reload",): Command(
        usage="reload [options]",
        help="Has the agent read its configuration files again.",
        run=_reload,
    ),
}
