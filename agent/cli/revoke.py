"""`connect ca revoke`, `revocations` and `unrevoke`: certificates that count no more (ours)."""

from __future__ import annotations

import json

from agent.cli.command import Call, Command, columns
from agent.cli.flags import Flag

_WAYS = {
    "serial": "SerialNumber",
    "uri": "ServiceURI",
    "service": "Service",
    "node": "Node",
    "cert": "CertPEM",
}


def _revoke(call: Call) -> int:
    from agent.cli.client import ClientError, expect, open_error

    flags = call.flags
    given = {name: flags.text(name) for name in _WAYS if flags.text(name)}
    if call.args:
        return call.fail("Should have no non-flag arguments.")
    if len(given) != 1:
        return call.fail("One of -serial, -cert, -uri, -service and -node must be given.")
    name, value = next(iter(given.items()))
    if name == "cert":
        try:
            with open(value, encoding="utf-8") as file:
                value = file.read()
        except (OSError, ValueError) as error:
            why = open_error(given[name], error) if isinstance(error, OSError) else str(error)
            return call.fail(f"Error reading the certificate: {why}")
    body = {_WAYS[name]: value, "Reason": flags.text("reason"), "Before": flags.text("before")}
    try:
        found = expect(
            call.client().put("/v1/connect/ca/revoke", body=json.dumps(body).encode())
        ).json()
    except ClientError as error:
        return call.fail(f"Error revoking: {error}")
    call.say(f"Revoked: {found['ID']}")
    return 0


def _list(call: Call) -> int:
    from agent.cli.client import ClientError

    try:
        found = call.client().read("/v1/connect/ca/revocations")
    except ClientError as error:
        return call.fail(f"Error querying revocations: {error}")
    rows = [("ID", "Revoked", "Expires", "Reason")]
    rows += [
        (each["ID"], each["RevokedAt"], each["ExpiresAt"], each.get("Reason") or "-")
        for each in found
    ]
    call.say(columns(rows))
    return 0


def _unrevoke(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if len(call.args) != 1:
        return call.fail("Must specify the ID of one revocation.")
    try:
        expect(call.client().delete("/v1/connect/ca/revocations", [("id", call.args[0])]))
    except ClientError as error:
        return call.fail(f"Error taking a revocation back: {error}")
    call.say(f"Counts again: {call.args[0]}")
    return 0


COMMANDS = {
    ("connect", "ca", "revoke"): Command(
        usage="connect ca revoke [options]",
        help="Denies certificates of services to all sidecars at once, and those that client\n"
        "agents were given (auto_encrypt) to the servers, on open connections too. Agents replace\n"
        "their own and those of services on their hosts by themselves; to keep somebody out, take\n"
        "the token, or deny a service by an intention as well.",
        run=_revoke,
        server=True,
        flags=(
            Flag("serial", "Serial number in hexadecimal of one certificate."),
            Flag("cert", "File with one certificate as PEM."),
            Flag("uri", "SPIFFE id all of whose certificates issued so far are denied."),
            Flag("service", "The same by the name of a service of this datacenter."),
            Flag("node", "The same by the name of a client agent's node."),
            Flag(
                "before",
                "With -uri, -service or -node: only those issued before this RFC 3339 time.",
            ),
            Flag("reason", "Why, for those who read the list."),
        ),
    ),
    ("connect", "ca", "revocations"): Command(
        usage="connect ca revocations [options]",
        help="Lists the certificates that are denied. An entry goes when they have ended.",
        run=_list,
        server=True,
    ),
    ("connect", "ca", "unrevoke"): Command(
        usage="connect ca unrevoke [options] ID",
        help="Takes a revocation back: what it denied counts again.",
        run=_unrevoke,
        server=True,
    ),
}
