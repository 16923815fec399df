"""`event`: tell every agent of the datacenter something by gossip."""

from __future__ import annotations

from agent.cli.command import Call, Command, help_text
from agent.cli.flags import Flag
from gossip.patterns import PatternError, compile_pattern


def _event(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    flags = call.flags
    name, node, service, tag = (flags.text(each) for each in ("name", "node", "service", "tag"))
    if not name:
        return _misused(call, "Event name must be specified")
    if len(call.args) > 1:
        return _misused(call, "Too many command line arguments.")
    if tag and not service:
        return call.fail("Cannot provide tag filter without service filter.")
    for what, pattern in (("node", node), ("service", service), ("tag", tag)):
        try:
            compile_pattern(pattern)
        except PatternError as error:
            return call.fail(f"Failed to compile {what} filter regexp: {error}")
    query = [(n, v) for n, v in (("node", node), ("service", service), ("tag", tag)) if v]
    payload = call.args[0].encode("utf-8", "surrogateescape") if call.args else None
    client = call.client()
    try:
        client.read("/v1/agent/self")  # is there an agent at all? As scripts know it
    except ClientError as error:
        return call.fail(f"Error querying {call.title} agent: {error}")
    try:
        answer = expect(client.put(f"/v1/event/fire/{name}", query, payload)).json()
    except ClientError as error:
        return call.fail(f"Error firing event: {error}")
    call.say(f"Event ID: {answer['ID']}")
    return 0


def _misused(call: Call, text: str) -> int:
    return call.fail(f"{text}\n\n{help_text(call.program, COMMANDS[('event',)])}".rstrip())


COMMANDS: dict[tuple[str, ...], Command] = {
    ("event",): Command(
        usage="event [options] -name=NAME [PAYLOAD]",
        help="Tells every agent of the datacenter of an event by gossip. Agents whom the filters\n"
        "do not mean pass it on and do not keep it. Name, filters and payload together have to\n"
        "fit into about 400 bytes. Nothing says that an agent has heard of it.",
        run=_event,
        flags=(
            Flag("name", "Name of the event."),
            Flag("node", "Only nodes whose name fits this pattern."),
            Flag("service", "Only nodes with a service whose name fits this pattern."),
            Flag("tag", "Only nodes where that service has a tag that fits this pattern."),
        ),
    ),
}
