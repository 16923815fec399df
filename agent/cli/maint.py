"""`maint`: maintenance mode of the node and of services."""

from __future__ import annotations

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_NODE = "_node_maintenance"
_SERVICE = "_service_maintenance:"


def _maint(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    flags = call.flags
    if flags["enable"] and flags["disable"]:
        return call.fail("Only one of -enable or -disable may be provided")
    acting = flags["enable"] or flags["disable"]
    if not acting and (flags.text("reason") or flags.text("service")):
        return call.fail("Reason may only be provided with -enable or -disable")
    client = call.client()
    if not acting:
        try:
            node = client.read("/v1/agent/self")["Config"]["NodeName"]
            checks = client.read("/v1/agent/checks")
        except ClientError as error:
            return call.fail(f"Error querying {call.title} agent: {error}")
        for check_id, check in sorted(checks.items()):
            if check_id == _NODE:
                call.say(f"Node:\n  Name:   {node}\n  Reason: {check['Notes']}\n")
            elif check_id.startswith(_SERVICE):
                service = check["ServiceID"]
                call.say(f"Service:\n  ID:     {service}\n  Reason: {check['Notes']}\n")
        return 0
    service = flags.text("service")
    doing, done = ("enabling", "enabled") if flags["enable"] else ("disabling", "disabled")
    query = [("enable", str(flags["enable"]).lower())]
    if flags["enable"]:
        query.append(("reason", flags.text("reason")))
    path = f"/v1/agent/service/maintenance/{service}" if service else "/v1/agent/maintenance"
    try:
        expect(client.put(path, query))
    except ClientError as error:
        return call.fail(f"Error {doing} {'service' if service else 'node'} maintenance: {error}")
    if service:
        call.say(f'Service maintenance is now {done} for "{service}"')
    else:
        call.say(f"Node maintenance is now {done}")
    return 0


COMMANDS = {
    ("maint",): Command(
        usage="maint [options]",
        help="Takes the node or a service out of health answers and back; shows what is out.",
        run=_maint,
        flags=(
            Flag("disable", "End maintenance mode.", Kind.BOOL),
            Flag("enable", "Begin maintenance mode.", Kind.BOOL),
            Flag("reason", "Why, for others to read."),
            Flag("service", "Id of a service; the whole node by default."),
        ),
    ),
}
