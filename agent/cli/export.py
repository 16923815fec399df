"""`services export`: adds a service to the config entry `exported-services`."""

from __future__ import annotations

import json
from typing import Any

from agent.cli.client import Client, ClientError, expect
from agent.cli.command import Call, Command
from agent.cli.flags import Flag

_ENTRY = "/v1/config/exported-services/default"
#: Attempts to write what others write at the same time.
ATTEMPTS_MAX = 10


def _export(call: Call) -> int:
    flags = call.flags
    name = flags.text("name")
    if not name:
        return call.fail("Missing the required -name flag")
    if _names(flags.text("consumer-partitions")):
        return call.fail("-consumer-partitions: partitions are not supported")
    peers = _names(flags.text("consumer-peers"))
    if not peers:
        return call.fail("Missing the required -consumer-peers or -consumer-partitions flag")
    client = call.client()
    try:
        if not any(_written(client, name, peers) for _ in range(ATTEMPTS_MAX)):
            return call.fail("Error writing config entry: others go on changing it; try again")
    except ClientError as error:
        return call.fail(f"Error exporting service {name}: {error}")
    call.say(f'Successfully exported service "{name}" to cluster peers: {", ".join(peers)}')
    return 0


def _names(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _written(client: Client, name: str, peers: list[str]) -> bool:
    """Whether the entry is as it shall be; False when somebody else was quicker."""
    answer = client.get(_ENTRY)
    entry: dict[str, Any] = {} if answer.status == 404 else expect(answer).json()
    services = [dict(each) for each in entry.get("Services") or ()]
    service = next((each for each in services if each.get("Name") == name), None)
    if service is None:
        service = {"Name": name, "Consumers": []}
        services.append(service)
    consumers = [dict(each) for each in service.get("Consumers") or ()]
    known = {each.get("Peer") or each.get("PeerName") for each in consumers}
    missing = [peer for peer in peers if peer not in known]
    if not missing:
        return True
    service["Consumers"] = [*consumers, *({"Peer": peer} for peer in missing)]
    body = {**entry, "Kind": "exported-services", "Name": "default", "Services": services}
    query = [("cas", str(entry.get("ModifyIndex", 0)))]
    return expect(client.put("/v1/config", query, json.dumps(body).encode())).json() is True


COMMANDS = {
    ("services", "export"): Command(
        usage="services export [options] -name=SERVICE -consumer-peers=NAMES",
        help="Adds a service to the config entry exported-services. The entry is kept for tools"
        "\nthat read it; there is no peering yet that would act on it.",
        run=_export,
        flags=(
            Flag("consumer-partitions", "Partitions are not supported."),
            Flag("consumer-peers", "Names of peers, separated by commas."),
            Flag("name", "Name of the service."),
        ),
    ),
}
