"""`services register` and `services deregister`: by flags, or by files as an agent reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

if TYPE_CHECKING:
    from agent.definitions import ServiceDefinition


def _register(call: Call) -> int:
    from agent.cli.client import ClientError, expect
    from agent.errors import ConfigError

    by_flags = bool(call.flags.text("name"))
    if not call.args and not by_flags:
        return call.fail("Service registration requires at least one argument or flags.")
    if call.args and by_flags:
        return call.fail("Service registration requires arguments or -id, not both.")
    try:
        bodies = [body_of_flags(call)] if by_flags else _bodies_of_files(call)
    except ConfigError as error:
        return call.fail(f"Error: {error}")
    except ValueError as error:
        return call.fail(f"Invalid Tagged Address: {error}")
    client = call.client()
    for body in bodies:
        name = body.get("Name", "")
        try:
            expect(client.put("/v1/agent/service/register", (), json.dumps(body).encode()))
        except ClientError as error:
            return call.fail(f'Error registering service "{name}": {error}')
        call.say(f"Registered service: {name}")
    return 0


def body_of_flags(call: Call) -> dict[str, Any]:
    """The service that flags describe. Raises ValueError for a bad tagged address."""
    flags = call.flags
    given = {
        "Name": flags.text("name"),
        "ID": flags.text("id"),
        "Kind": flags.text("kind"),
        "Address": flags.text("address"),
        "Port": flags["port"],
        "SocketPath": flags.text("socket"),
        "Tags": flags["tag"],
        "Meta": flags["meta"],
        "TaggedAddresses": {name: _tagged(text) for name, text in flags["tagged-address"].items()},
    }
    return {key: value for key, value in given.items() if value}


def _tagged(text: str) -> dict[str, Any]:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"address {text}: missing port in address")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f'parsing "{port}": invalid syntax')
    return {"Address": host.strip("[]"), "Port": int(port)}


def _definitions(call: Call) -> list[ServiceDefinition]:
    """The services of the named files. Raises ConfigError."""
    from agent.config.decode import decode, several
    from agent.config.load import parse, read_paths
    from agent.config.merge import merge
    from agent.config.services import service
    from agent.errors import ConfigError

    sources: list[dict[str, Any]] = []
    for path in call.args:
        if path == "-":
            text = call.stdin.read().decode("utf-8", "replace")
            kind = "json" if text.lstrip().startswith("{") else "hcl"
            sources.append(decode(parse(text, kind, "stdin"), "stdin"))
            continue
        read, skipped = read_paths([path], "")
        sources += [said for _, said in read]
        for warning in skipped:
            call.fail(warning)
    errors: list[str] = []
    values = merge(files=sources, flags={})
    found = [
        service(each, f"services[{at}]", errors)
        for at, each in enumerate(values.get("services", ()))
    ]
    if errors:
        raise ConfigError(several(errors))
    return found


def _bodies_of_files(call: Call) -> list[dict[str, Any]]:
    from agent.cli.service_json import service_body

    return [service_body(each) for each in _definitions(call)]


def _deregister(call: Call) -> int:
    from agent.cli.client import ClientError, expect
    from agent.errors import ConfigError

    service_id = call.flags.text("id")
    if not call.args and not service_id:
        return call.fail("Service deregistration requires at least one argument or -id.")
    if call.args and service_id:
        return call.fail("Service deregistration requires arguments or -id, not both.")
    try:
        ids = [service_id] if service_id else [each.id or each.name for each in _definitions(call)]
    except ConfigError as error:
        return call.fail(f"Error: {error}")
    client = call.client()
    for each in ids:
        try:
            expect(client.put(f"/v1/agent/service/deregister/{each}"))
        except ClientError as error:
            # "registering" and no name: the reference's words.
            return call.fail(f'Error registering service "": {error}')
        call.say(f"Deregistered service: {each}")
    return 0


COMMANDS = {
    ("services", "register"): Command(
        usage="services register [options] [FILE...]",
        help='Registers services with the local agent, from files ("-" for standard input) or'
        "\nflags.",
        run=_register,
        server=True,
        namespace=True,
        flags=(
            Flag("address", "Address of the service."),
            Flag("id", "Id of the service; its name by default."),
            Flag("kind", "Kind of the service."),
            Flag("meta", "Metadata; may be repeated.", Kind.MAP),
            Flag("name", "Name of the service."),
            Flag("port", "Port of the service.", Kind.INT),
            Flag("socket", "Unix socket of the service."),
            Flag("tag", "Tag; may be repeated.", Kind.LIST),
            Flag("tagged-address", "Further address name=host:port; may be repeated.", Kind.MAP),
        ),
    ),
    ("services", "deregister"): Command(
        usage="services deregister [options] [FILE...]",
        help="Deregisters services from the local agent, those of files or one by its id.",
        run=_deregister,
        server=True,
        namespace=True,
        flags=(Flag("id", "Id of the service."),),
    ),
}
