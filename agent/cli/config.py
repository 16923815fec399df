"""`config`: config entries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_PATH = "/v1/config"
_MESH = "mesh"


def _kind_and_name(call: Call) -> str:
    """What is missing of the two, "" for nothing."""
    for name in ("kind", "name"):
        if not call.flags.text(name):
            return f"Must specify the -{name} parameter"
    return ""


def _read(call: Call) -> int:
    from agent.cli.client import ClientError
    from raftstore.entries.kinds import KINDS, bad_kind

    missing = _kind_and_name(call)
    if missing:
        return call.fail(missing)
    kind, name = call.flags.text("kind"), call.flags.text("name")
    if kind not in KINDS:
        return call.fail(f"Error reading config entry {kind}/{name}: {bad_kind(kind)}")
    try:
        found = call.client().read(f"{_PATH}/{kind}/{name}")
    except ClientError as error:
        return call.fail(f"Error reading config entry {kind}/{name}: {error}")
    call.say(json.dumps(_as_client_shows(found), indent=4, ensure_ascii=False))
    return 0


def _as_client_shows(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as Go's client prints it: without empty lists, with a field more in each path."""
    shown = {
        key: value
        for key, value in entry.items()
        if value is not None and not (key == "Protocol" and value == "")
    }
    paths = (shown.get("Expose") or {}).get("Paths")
    if paths:
        paths = [{"ParsedFromCheck": False} | path for path in paths]
        shown["Expose"] = {**shown["Expose"], "Paths": paths}
    return shown


def _list(call: Call) -> int:
    from agent.cli.client import ClientError

    kind = call.flags.text("kind")
    if not kind:
        return call.fail("Must specify the -kind parameter")
    query = [("filter", call.flags.text("filter"))] if call.flags.text("filter") else []
    try:
        found = call.client().read(f"{_PATH}/{kind}", query)
    except ClientError as error:
        return call.fail(f'Error listing config entries for kind "{kind}": {error}')
    for entry in found or ():
        call.say(entry.get("Name", _MESH))
    return 0


def _loaded(call: Call) -> dict[str, Any]:
    """The entry in the file or on standard input, as the API takes it. Raises ValueError."""
    from raftstore.entries import kinds
    from raftstore.entries.shape import Undecodable

    try:
        text = _text(call)
    except OSError as error:
        raise ValueError(f"Failed to load data: {error}") from None
    try:
        entry = kinds.decode(_parsed(text))
    except (ValueError, Undecodable) as error:
        raise ValueError(f"Failed to decode config entry input: {error}") from None
    shown = kinds.shown(entry)
    return {
        key: value
        for key, value in shown.items()
        if key not in {"CreateIndex", "ModifyIndex"} and value is not None
    }


def _text(call: Call) -> str:
    from agent.cli.client import open_error

    if call.args[0] == "-":
        return call.stdin.read().decode("utf-8", "replace")
    try:
        with open(call.args[0], encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise OSError(f"Failed to read file: {open_error(call.args[0], error)}") from None


def _parsed(text: str) -> Any:
    """JSON if it looks so, else HCL."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("exceeded max depth") from None
    from agent.config import hcl

    return hcl.loads(text)


def _write(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if len(call.args) != 1:
        return call.fail(
            "Must provide exactly one positional argument to specify the config entry to write"
        )
    try:
        entry = _loaded(call)
    except ValueError as error:
        return call.fail(str(error))
    label = f"{entry['Kind']}/{entry.get('Name', _MESH)}"
    query = [("cas", str(call.flags.values["modify-index"]))] if call.flags["cas"] else []
    try:
        written = expect(call.client().put(_PATH, query, json.dumps(entry).encode())).json()
    except ClientError as error:
        return call.fail(f"Error writing config entry {label}: {error}")
    if not written:
        return call.fail(f"Config entry not updated: {label}")
    call.say(f"Config entry written: {label}")
    return 0


def _plan(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if len(call.args) != 1:
        return call.fail("Must provide exactly one positional argument: the config entry", 2)
    try:
        entry = _loaded(call)
    except ValueError as error:
        return call.fail(str(error), 2)
    query = [("plan", "delete" if call.flags["delete"] else "")]
    try:
        found = expect(call.client().put(_PATH, query, json.dumps(entry).encode())).json()
    except ClientError as error:
        return call.fail(f"Error planning config entry: {error}", 2)
    label = f"{found['Kind']}/{found['Name']}"
    if found["Refused"]:
        return call.fail(f"{label} would be refused: {found['Refused']}")
    words = {"create": "created", "update": "updated", "delete": "deleted"}
    call.say(f"{label} would be {words.get(found['Action'], 'as it is')}")
    if found["Action"] == "update":
        for line in _differences(found["Before"], found["After"]):
            call.say(line)
    if found["ChainsCount"]:
        call.say(f"Chains that would change ({found['ChainsCount']}): {', '.join(found['Chains'])}")
    for warning in found["Warnings"]:
        call.say(f"Warning: {warning}")
    return 0


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The lines of two entries that differ, as `diff -u` shows them."""
    import difflib

    texts = [
        json.dumps(
            {key: value for key, value in entry.items() if not key.endswith("Index")}, indent=2
        ).splitlines()
        for entry in (before, after)
    ]
    return list(difflib.unified_diff(texts[0], texts[1], lineterm="", n=1))[2:]


def _delete(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    missing = _kind_and_name(call)
    if missing:
        return call.fail(missing)
    kind, name = call.flags.text("kind"), call.flags.text("name")
    query = [("cas", str(call.flags.values["modify-index"]))] if call.flags["cas"] else []
    try:
        done = expect(call.client().delete(f"{_PATH}/{kind}/{name}", query)).json()
    except ClientError as error:
        return call.fail(f"Error deleting config entry {kind}/{name}: {error}")
    if done is False:
        return call.fail(f"Config entry not deleted: {kind}/{name}")
    call.say(f"Config entry deleted: {kind}/{name}")
    return 0


_KIND = Flag("kind", "Kind of the config entry.")
_NAME = Flag("name", "Name of the config entry.")
_CAS = Flag("cas", "Only if the entry was not changed since -modify-index.", Kind.BOOL)
_INDEX = Flag("modify-index", "The index of -cas; 0: only if there is none.", Kind.UINT, default=0)

COMMANDS = {
    ("config", "read"): Command(
        usage="config read [options] -kind KIND -name NAME",
        help="Displays a config entry as JSON.",
        run=_read,
        server=True,
        namespace=True,
        flags=(_KIND, _NAME),
    ),
    ("config", "list"): Command(
        usage="config list [options] -kind KIND",
        help="Lists the names of the config entries of a kind.",
        run=_list,
        server=True,
        namespace=True,
        flags=(_KIND, Flag("filter", "Filter expression.")),
    ),
    ("config", "write"): Command(
        usage="config write [options] FILE",
        help="Writes the config entry in a file, as HCL or JSON; - is standard input.",
        run=_write,
        server=True,
        namespace=True,
        flags=(_CAS, _INDEX),
    ),
    ("config", "plan"): Command(
        usage="config plan [options] FILE",
        help="Says what writing the config entry in a file would do, and does nothing: what would\n"
        "change, whose chains, or why it would be refused (status 1; 2 for errors).",
        run=_plan,
        server=True,
        namespace=True,
        error_status=2,
        flags=(Flag("delete", "Plan to delete the entry of this kind and name.", Kind.BOOL),),
    ),
    ("config", "delete"): Command(
        usage="config delete [options] -kind KIND -name NAME",
        help="Deletes a config entry, unless others stand on it.",
        run=_delete,
        server=True,
        namespace=True,
        flags=(_KIND, _NAME, _CAS, _INDEX),
    ),
}
