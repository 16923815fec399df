"""`connect envoy` and `connect expose`: what belongs to other proxies.

There is no xDS server, so Envoy cannot be configured by an agent; the first says so. The second
writes a config entry and an intention, which is the same whoever carries them out.
"""

from __future__ import annotations

import json
from typing import Any

from agent.cli.client import Client, ClientError, expect
from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

#: Attempts to write what others write at the same time.
ATTEMPTS_MAX = 10


class _RefusedError(Exception):
    """What is there already does not go with what is wanted."""


def _no_envoy(call: Call) -> int:
    return call.fail(
        "connect envoy requires an xDS server, and this agent has none. Sidecars are run by the "
        "agent itself (connect.builtin_proxy), or by `connect proxy`."
    )


def _expose(call: Call) -> int:
    flags = call.flags
    service, gateway, port = flags.text("service"), flags.text("ingress-gateway"), flags["port"]
    if not service:
        return call.fail("A service name must be given via the -service flag.")
    if not gateway:
        return call.fail("An ingress gateway service must be given via the -ingress-gateway flag.")
    if not 0 < port < 65536:
        return call.fail("A port must be provided via the -port flag.")
    client = call.client()
    try:
        if not any(_written(call, client, gateway, service) for _ in range(ATTEMPTS_MAX)):
            return call.fail("Error writing config entry: others go on changing it; try again")
        _allow(call, client, gateway, service)
    except _RefusedError as error:
        return call.fail(str(error))
    except ClientError as error:
        return call.fail(f"Error exposing service {service}: {error}")
    return 0


def _written(call: Call, client: Client, gateway: str, service: str) -> bool:
    """Whether the gateway's entry exposes the service now; False when another was quicker."""
    answer = client.get(f"/v1/config/ingress-gateway/{gateway}")
    entry: dict[str, Any] = {} if answer.status == 404 else expect(answer).json()
    listeners = [dict(each) for each in entry.get("Listeners") or ()]
    if not _added(listeners, call, service):
        call.say(f'Service "{service}" already exposed through listener with port '
                 f'{call.flags["port"]}')  # fmt: skip
        return True
    body = {**entry, "Kind": "ingress-gateway", "Name": gateway, "Listeners": listeners}
    query = [("cas", str(entry.get("ModifyIndex", 0)))]
    if expect(client.put("/v1/config", query, json.dumps(body).encode())).json() is not True:
        return False
    call.say(f'Successfully updated config entry for ingress service "{gateway}"')
    return True


def _added(listeners: list[dict[str, Any]], call: Call, service: str) -> bool:
    """Put the service behind its port; False when it is there. Raises _RefusedError."""
    port, protocol = call.flags["port"], call.flags.text("protocol").lower()
    hosts = call.flags["host"]
    wanted: dict[str, Any] = {"Name": service} | ({"Hosts": hosts} if hosts else {})
    listener = next((each for each in listeners if each.get("Port") == port), None)
    if listener is None:
        listeners.append({"Port": port, "Protocol": protocol, "Services": [wanted]})
        return True
    there = listener.get("Protocol") or "tcp"
    if there != protocol:
        raise _RefusedError(
            f'Listener on port {port} already configured with conflicting protocol "{there}"'
        )
    services = [dict(each) for each in listener.get("Services") or ()]
    if any(each.get("Name") == service for each in services):
        return False
    listener["Services"] = [*services, wanted]
    return True


def _allow(call: Call, client: Client, gateway: str, service: str) -> None:
    """Let the gateway reach the service. Raises _RefusedError where an intention denies it."""
    query = [("source", gateway), ("destination", service)]
    answer = client.get("/v1/connect/intentions/exact", query)
    if answer.status != 404:
        found = expect(answer).json()
        if found.get("Action") == "deny":
            raise _RefusedError(
                f'An intention denies "{gateway}" -> "{service}": change it first '
                "(`intention create -replace`)"
            )
        call.say(f'Intention already exists for "{gateway}" -> "{service}"')
        return
    body = json.dumps({"SourceType": "consul", "Action": "allow"}).encode()
    expect(client.put("/v1/connect/intentions/exact", query, body))
    call.say(f'Successfully set up intention for "{gateway}" -> "{service}"')


def _texts(names: str) -> tuple[Flag, ...]:
    return tuple(Flag(name, "Accepted for the sake of scripts.") for name in names.split())


def _switches(names: str) -> tuple[Flag, ...]:
    return tuple(
        Flag(name, "Accepted for the sake of scripts.", Kind.BOOL) for name in names.split()
    )


COMMANDS: dict[tuple[str, ...], Command] = {
    ("connect", "envoy"): Command(
        usage="connect envoy [options]",
        help="Would start Envoy as a sidecar. That takes an xDS server, which there is none of:"
        "\nagents run sidecars of their own.",
        run=_no_envoy,
        namespace=True,
        flags=(
            *_texts(
                "address admin-access-log-path admin-bind bind-address deregister-after-critical "
                "envoy-binary envoy-version gateway grpc-addr prometheus-backend-port "
                "prometheus-scrape-path proxy-id service sidecar-for wan-address grpc-ca-file "
                "grpc-ca-path"
            ),
            *_switches(
                "bootstrap expose-servers mesh-gateway no-central-config omit-deprecated-tags "
                "register"
            ),
        ),
    ),
    ("connect", "expose"): Command(
        usage="connect expose [options] -service=NAME -ingress-gateway=NAME -port=PORT",
        help="Puts a service behind a port of an ingress gateway: adds it to the gateway's config"
        "\nentry and allows the connection by an intention.",
        run=_expose,
        server=True,
        namespace=True,
        flags=(
            Flag("host", "Host name of requests for the service; may be repeated.", Kind.LIST),
            Flag("ingress-gateway", "Service name of the gateway."),
            Flag("port", "Port of the gateway's listener.", Kind.INT),
            Flag("protocol", "Protocol of the listener.", default="tcp"),
            Flag("service", "Service to expose."),
        ),
    ),
}
