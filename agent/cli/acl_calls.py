"""What the commands of `acl` share: finding an object by a part of its id, reading what a flag
names, and printing the answer in the form that was asked for."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.cli.acl_forms import Form, as_json
from agent.cli.client import Client, ClientError, Response, expect, open_error
from agent.cli.command import Call, Command, help_text
from agent.cli.flags import Flag, Kind

#: Names that may stand for an id.
_WELL_KNOWN = {
    ("policy", "global-management"): "00000000-0000-0000-0000-000000000001",
    ("token", "anonymous"): "00000000-0000-0000-0000-000000000002",
}
_LISTS = {
    "policy": ("/v1/acl/policies", "ID"),
    "role": ("/v1/acl/roles", "ID"),
    "token": ("/v1/acl/tokens", "AccessorID"),
    "rule": ("/v1/acl/binding-rules", "ID"),
}
_UUID_CHARS = 36
_READ_ONLY_ID = "00000000-0000-0000-0000-000000000002"

FORMAT = Flag("format", "Output format: pretty or json.", default="pretty")
META = Flag("meta", "Show indexes and hash as well.", Kind.BOOL)
NO_MERGE = Flag("no-merge", "Replace the whole instead of merging into what is there.", Kind.BOOL)
DESCRIPTION = Flag("description", "What it is for.")
LINK_FLAGS = (
    Flag("policy-id", "Id of a policy to link, or its beginning; repeatable.", Kind.LIST),
    Flag("policy-name", "Name of a policy to link; repeatable.", Kind.LIST),
    Flag(
        "service-identity",
        "Service to act for, NAME or NAME:DC,DC; repeatable.",
        Kind.LIST,
    ),
    Flag("node-identity", "Node to act for, NAME:DC; repeatable.", Kind.LIST),
    Flag("templated-policy", "Name of a templated policy to link; repeatable.", Kind.LIST),
    Flag("var", "Variable of the templated policies, name:VALUE.", Kind.LIST),
)


class UsageError(Exception):
    """The command cannot be carried out as it was written; the text is for the user."""


def told(run: Callable[[Call], int]) -> Callable[[Call], int]:
    """A command that tells its user what it could not do."""

    @functools.wraps(run)
    def tells(call: Call) -> int:
        try:
            return run(call)
        except UsageError as error:
            return call.fail(str(error))

    return tells


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what it was that a server refused. Raises UsageError."""
    try:
        yield
    except ClientError as error:
        raise UsageError(f"{what}: {error}") from None


def id_of(client: Client, kind: str, given: str) -> str:
    """The id that begins so. Raises ClientError."""
    if (kind, given) in _WELL_KNOWN:
        return _WELL_KNOWN[kind, given]
    if len(given) == _UUID_CHARS:
        return given
    path, field = _LISTS[kind]
    found = [str(each[field]) for each in client.read(path) if each[field].startswith(given)]
    if len(found) > 1:
        # A newer built-in policy than scripts know of; its whole id, or its name, finds it.
        found = [each for each in found if each != _READ_ONLY_ID]
    if not found:
        raise ClientError(f"No such {kind} ID with prefix: {given}")
    if len(found) > 1:
        raise ClientError(f"Partial {kind} ID is not unique")
    return found[0]


def id_of_name(client: Client, kind: str, name: str) -> str:
    """The id of what is called so. Raises ClientError."""
    path, field = _LISTS[kind]
    for each in client.read(path):
        if each["Name"] == name:
            return str(each[field])
    raise ClientError(f"No such {kind} with name {name}")


def read_or_none(client: Client, path: str) -> Any:
    """The JSON of a 200 answer, None for a 404. Raises ClientError."""
    answer = client.get(path)
    return None if answer.status == 404 else expect(answer).json()


def put(client: Client, path: str, value: Any) -> Any:
    """PUT JSON; gives the JSON of the answer. Raises ClientError."""
    return expect(client.put(path, (), json.dumps(value).encode())).json()


def post(client: Client, path: str, body: bytes) -> Response:
    """POST bytes. Raises ClientError unless it was 200."""
    return expect(client.request("POST", path, (), body))


def part(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def show(call: Call, value: Any, form: Form) -> int:
    """Print what came back; the exit status."""
    wanted = call.flags.text("format")
    if wanted == "json":
        call.say(as_json(value))
    elif wanted == "pretty":
        call.say(form(value, meta=bool(call.flags.values.get("meta"))))
    else:
        return call.fail(f"Unknown format: {wanted}")
    return 0


def misused(call: Call, text: str, command: Command) -> int:
    """Say what is missing, with the command's help."""
    return call.fail(f"{text}\n{help_text(call.program, command)}".rstrip("\n"))


def data(call: Call, text: str) -> str:
    """What a flag or an argument names: ``@file``, ``-`` for standard input, or the text itself.

    Raises UsageError.
    """
    try:
        if text.startswith("@"):
            return Path(text[1:]).read_text()
        if text == "-":
            return call.stdin.read().decode()
    except (OSError, UnicodeDecodeError) as error:
        if text == "-":
            raise UsageError(f"Failed to read stdin: {error}") from None
        raise UsageError(f"Failed to read file: {open_error(text[1:], error)}") from None
    return text


def services_of(given: Sequence[str]) -> list[dict[str, Any]]:
    """``NAME`` or ``NAME:DC,DC`` -> service identities. Raises UsageError."""
    found: list[dict[str, Any]] = []
    for text in given:
        name, *places = text.split(":")
        if len(places) > 1:
            raise UsageError(f'Malformed -service-identity argument: "{text}"')
        found.append({"ServiceName": name})
        if places:
            found[-1]["Datacenters"] = places[0].split(",")
    return found


def nodes_of(given: Sequence[str]) -> list[dict[str, Any]]:
    """``NAME:DC`` -> node identities. Raises UsageError."""
    found = []
    for text in given:
        parts = text.split(":")
        if len(parts) != 2:
            raise UsageError(f'Malformed -node-identity argument: "{text}"')
        found.append({"NodeName": parts[0], "Datacenter": parts[1]})
    return found


def templates_of(call: Call) -> list[dict[str, Any]]:
    """The templated policies that were named, all with the same variables. Raises UsageError."""
    variables = {}
    for text in call.flags["var"]:
        name, colon, value = text.partition(":")
        if not colon:
            raise UsageError(f'Malformed -var argument: "{text}"')
        variables[name.lower()] = value
    return [
        {"TemplateName": name} | ({"TemplateVariables": variables} if variables else {})
        for name in call.flags["templated-policy"]
    ]


def linked(call: Call, client: Client, kind: str) -> list[dict[str, str]]:
    """Links by name and by id, as ``-policy-name``/``-role-id`` say. Raises UsageError."""
    found = [{"Name": name} for name in call.flags[f"{kind}-name"]]
    for given in call.flags[f"{kind}-id"]:
        try:
            found.append({"ID": id_of(client, kind, given)})
        except ClientError as error:
            raise UsageError(f"Error resolving {kind} ID {given}: {error}") from None
    return found


def merged(
    held: Sequence[dict[str, Any]] | None, more: Sequence[dict[str, Any]], *keys: str
) -> list[dict[str, Any]]:
    """What is held, with more; of those that agree in ``keys`` the new one is kept."""
    found = list(held or ())
    for each in more:
        same = [i for i, old in enumerate(found) if _same(old, each, keys)]
        if same:
            found[same[0]] = each
        else:
            found.append(each)
    return found


def merged_links(
    held: Sequence[dict[str, Any]] | None, more: Sequence[dict[str, str]]
) -> list[dict[str, Any]]:
    """Links that are held, and those of the new ones that are not."""
    found = list(held or ())
    for link in more:
        if not any(all(old.get(key) == link[key] for key in link) for old in found):
            found.append(link)
    return found


def _same(old: dict[str, Any], new: dict[str, Any], keys: Sequence[str]) -> bool:
    return all(old.get(key) == new.get(key) for key in keys)


def flush() -> None:
    """Have results out before a file is written that somebody waits for."""
    sys.stdout.flush()
