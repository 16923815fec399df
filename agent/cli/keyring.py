"""`keyring`: the gossip keys of all agents (cli-config contract, A2)."""

from __future__ import annotations

import json
from typing import Any

from agent.cli.command import Call, Command, help_text
from agent.cli.flags import Flag, Kind

_PATH = "/v1/operator/keyring"
_RELAY_FACTOR_MAX = 5
#: Flag of a change -> (method, what is said first).
_CHANGES = {
    "install": ("POST", "Installing new gossip encryption key"),
    "use": ("PUT", "Changing primary gossip encryption key"),
    "remove": ("DELETE", "Removing gossip encryption key"),
}
_LISTS = {
    "list": ("Keys", "Gathering installed encryption keys"),
    "list-primary": ("PrimaryKeys", "Gathering installed primary encryption keys"),
}


def _keyring(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    flags = call.flags
    lists = [name for name in _LISTS if flags[name]]
    changes = [name for name in _CHANGES if flags.text(name)]
    if not lists and not changes:
        call.err.write(help_text(call.program, COMMANDS[("keyring",)]))
        return 1
    if len(lists) + len(changes) > 1:
        return call.fail("Only a single action is allowed")
    factor = flags["relay-factor"]
    if not 0 <= factor <= _RELAY_FACTOR_MAX:
        return call.fail(
            f"Error parsing relay factor: Relay factor must be in range: [0, {_RELAY_FACTOR_MAX}]"
        )
    if changes and flags["local-only"]:
        return call.fail(
            "Error validating local-only: local-only can only be set for list requests"
        )
    query = [("relay-factor", str(factor))] if factor else []
    if flags["local-only"]:
        query.append(("local-only", "true"))
    client = call.client()
    try:
        if lists:
            field, title = _LISTS[lists[0]]
            call.say(f"==> {title}...")
            _show(call, client.read(_PATH, query), field)
            return 0
        method, title = _CHANGES[changes[0]]
        call.say(f"==> {title}...")
        body = json.dumps({"Key": flags.text(changes[0])}).encode()
        expect(client.request(method, _PATH, query, body))
    except ClientError as error:
        return call.fail(f"error: {error}")
    return 0


def _show(call: Call, pools: list[dict[str, Any]], field: str) -> None:
    for pool in pools:
        title = "WAN" if pool["WAN"] else f"{pool['Datacenter']} (LAN)"
        call.say(f"\n{title}:")
        for name, text in (pool.get("Messages") or {}).items():
            call.say(f"  ===> {name}: {text}")
        for key, count in (pool.get(field) or {}).items():
            call.say(f"  {key} [{count}/{pool['NumNodes']}]")


COMMANDS = {
    ("keyring",): Command(
        usage="keyring [options]",
        help="Lists or changes the keys that gossip is encrypted with, on all agents. A new key\n"
        "is installed, then used, and the old one removed. A key is not used while a live agent\n"
        "lacks it, and not removed while one encrypts with it: the answer names the agents, and\n"
        "nothing is changed.",
        run=_keyring,
        flags=(
            Flag("install", "Give this key to every agent; it is not used yet."),
            Flag("list", "How many agents hold each key.", Kind.BOOL),
            Flag("list-primary", "How many agents encrypt with each key.", Kind.BOOL),
            Flag("local-only", "Lists only: leave the WAN pool out.", Kind.BOOL),
            Flag(
                "relay-factor", "0 to 5 agents pass each answer on once more.", Kind.INT, default=0
            ),
            Flag("remove", "Take this key away from every agent."),
            Flag("use", "Encrypt with this key from now on."),
        ),
    ),
}
