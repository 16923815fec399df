"""`connect ca csr` and `set-intermediate`: the authority below a root that is kept elsewhere."""

from __future__ import annotations

import json

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind


def _csr(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if call.args:
        return call.fail("Should have no non-flag arguments.")
    query = [("new", "")] if call.flags["new"] else []
    try:
        answer = expect(call.client().put("/v1/connect/ca/csr", query))
    except ClientError as error:
        return call.fail(f"Error opening a signing request: {error}")
    call.raw(answer.body)
    return 0


def _set_intermediate(call: Call) -> int:
    from agent.cli.client import ClientError, expect, open_error

    if not call.args:
        return call.fail("Must specify the files of the intermediate and those above it.")
    bundle = ""
    for path in call.args:
        try:
            with open(path, encoding="utf-8") as file:
                bundle += file.read().rstrip() + "\n"
        except (OSError, ValueError) as error:
            why = open_error(path, error) if isinstance(error, OSError) else str(error)
            return call.fail(f"Error reading the certificates: {why}")
    body = json.dumps({"CertPEM": bundle}).encode()
    query = [("force", "")] if call.flags["force-without-cross-signing"] else []
    try:
        found = expect(call.client().put("/v1/connect/ca/intermediate", query, body)).json()
    except ClientError as error:
        return call.fail(f"Error installing the intermediate: {error}")
    call.say(f"Signing below root: {found['ActiveRootID']}")
    return 0


COMMANDS = {
    ("connect", "ca", "csr"): Command(
        usage="connect ca csr [options]",
        help="Prints a request for the certificate of an intermediate, for whoever keeps the key of"
        "\nthe root to sign as an authority (CA:TRUE, path length 0, the URI as asked). The"
        "\nauthority must be configured with ExternalSigner. While the request is open, the same"
        "\nkey is asked for each time.",
        run=_csr,
        server=True,
        flags=(Flag("new", "Ask for another key.", Kind.BOOL),),
    ),
    ("connect", "ca", "set-intermediate"): Command(
        usage="connect ca set-intermediate [options] FILE...",
        help="Installs what was signed of `connect ca csr`: the intermediate, those above it and"
        "\nthe root, as PEM in one or several files. Leaves follow within minutes.",
        run=_set_intermediate,
        server=True,
        flags=(
            Flag(
                "force-without-cross-signing",
                "Change the root also where the old one cannot sign the new one.",
                Kind.BOOL,
            ),
        ),
    ),
}
