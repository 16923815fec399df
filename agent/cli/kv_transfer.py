"""`kv export` and `kv import`: trees of keys as JSON."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag
from agent.cli.kv import DataError, failed_read, read_data, read_tree


def _export(call: Call) -> int:
    from agent.cli.client import ClientError

    if len(call.args) > 1:
        return call.fail(f"Too many arguments (expected 1, got {len(call.args)})")
    prefix = (call.args[0] if call.args else "").removeprefix("/")
    try:
        found = read_tree(call, prefix, [("recurse", "")])
    except ClientError as error:
        return failed_read(call, error)
    exported = [
        {"key": pair["Key"], "flags": pair["Flags"], "value": pair["Value"] or ""} for pair in found
    ]
    call.say(json.dumps(exported, indent="\t", ensure_ascii=False) if exported else "[]")
    return 0


def _import(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if not call.args:
        return call.fail("Error! Missing DATA argument")
    if len(call.args) > 1:
        return call.fail(f"Error! Too many arguments (expected 1, got {len(call.args)})")
    if not call.args[0]:
        return call.fail("Error! Empty DATA argument")
    try:
        entries = _entries(read_data(call, call.args[0]))
    except DataError as error:
        return call.fail(f"Error! {error}")
    except ValueError as error:
        return call.fail(f"Cannot unmarshal data: {error}")
    client = call.client()
    for key, number, encoded in entries:
        try:
            value = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            return call.fail(f"Error base 64 decoding value for key {key}: {error}")
        full = call.flags.text("prefix") + key
        query = [("flags", str(number))] if number else []
        try:
            expect(client.put(f"/v1/kv/{full}", query, value))
        except ClientError as error:
            return call.fail(f"Error! Failed writing data for key {full}: {error}")
        call.say(f"Imported: {full}")
    return 0


def _entries(data: bytes) -> list[tuple[str, int, str]]:
    """Key, flags and base64 text of each entry. Raises ValueError."""
    found: Any = json.loads(data)
    if not isinstance(found, list):
        raise ValueError(f"expected a list, got {type(found).__name__}")  # noqa: TRY004
    entries = []
    for at, item in enumerate(found):
        if not isinstance(item, dict):
            raise ValueError(f"entry {at} is no object")  # noqa: TRY004
        entry = (item.get("key", ""), item.get("flags", 0), item.get("value", ""))
        kinds_fit = isinstance(entry[0], str) and isinstance(entry[2], str)
        if not kinds_fit or type(entry[1]) is not int or entry[1] < 0:
            raise ValueError(f"entry {at} is no key, flags and value")
        entries.append(entry)
    return entries


COMMANDS = {
    ("kv", "export"): Command(
        usage="kv export [options] [PREFIX]",
        help="Prints the keys below a prefix as JSON, values in base64.",
        run=_export,
        server=True,
        namespace=True,
    ),
    ("kv", "import"): Command(
        usage="kv import [options] DATA",
        help='Writes the keys of an export. DATA is the JSON, "@file", or "-" for standard input.',
        run=_import,
        server=True,
        namespace=True,
        flags=(Flag("prefix", "Written before each key."),),
    ),
}
