"""`version` and `keygen`: what needs no agent."""

from __future__ import annotations

import json

from agent import VERSION
from agent.cli.command import Call, Command
from agent.cli.flags import Flag

_PROTOCOL = (
    "Protocol 2 spoken by default, understands 2 to 3 "
    "(agent will automatically use protocol >2 when speaking to compatible agents)"
)
_KEY_BYTES = 32


def print_version(call: Call) -> None:
    """The version as people read it."""
    call.say(f"{call.title} v{VERSION}\n{_PROTOCOL}\n")


def _version(call: Call) -> int:
    wanted = call.flags.text("format")
    if wanted == "pretty":
        print_version(call)
    elif wanted == "json":
        rpc = {"Default": 2, "Min": 2, "Max": 3}
        told = {"Version": VERSION, "Revision": "", "Prerelease": "", "RPC": rpc}
        call.say(json.dumps(told, indent=3))
    else:
        return call.fail(f"Unknown format: {wanted}")
    return 0


def _keygen(call: Call) -> int:
    import base64
    import secrets

    call.say(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode())
    return 0


COMMANDS = {
    ("version",): Command(
        usage="version [options]",
        help="Prints the version of this program and the protocol versions it speaks.",
        run=_version,
        http=False,
        flags=(Flag("format", "Output format: pretty or json.", default="pretty"),),
    ),
    ("keygen",): Command(
        usage="keygen",
        help="Generates a new key for the encryption of gossip, as base64 text.",
        run=_keygen,
        http=False,
    ),
}
