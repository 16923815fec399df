"""`explain`: why a decision fell, from /v1/explain (lictor's own)."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

_FORMATS = ("pretty", "json")
_WHATS = (
    "acl", "certificate", "check", "configuration", "coordinates", "dns", "events",
    "feeds", "intention", "keyring", "limits", "login",
    "loop", "member", "process", "query", "raft", "restore", "ring", "route", "server-port",
    "service", "session", "sidecars", "watches",
)  # fmt: skip


def _explain(call: Call) -> int:
    from agent.cli.client import ClientError

    wanted = call.flags.text("format")
    if wanted not in _FORMATS:
        return call.fail(f"Unknown format: {wanted}")
    if not call.args:
        return call.fail("Error! Missing WHAT argument")
    # key=value words go into the query, everything else into the path.
    path = [word for word in call.args if "=" not in word]
    query = [(key, value) for key, _, value in (w.partition("=") for w in call.args if "=" in w)]
    query += [(name, call.flags.text(name)) for name in ("method", "path") if call.flags.text(name)]
    if call.flags["header"]:
        query.append(("header", "\n".join(call.flags["header"])))
    try:
        found = call.client().read("/v1/explain/" + "/".join(path), query)
    except ClientError as error:
        return call.fail(f"Error querying {call.title} agent: {error}")
    if found is None:
        return call.fail(f"Nothing is known of {' '.join(call.args)}")
    if wanted == "json":
        call.say(json.dumps(found, indent=4, ensure_ascii=False))
    else:
        call.say("\n".join(outline(found)))
    return 0


def outline(value: Any, depth: int = 0) -> Iterator[str]:
    """Data as indented lines, ``key: value``; lists with a dash before each entry."""
    pad = "  " * depth
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list) and item:
                yield f"{pad}{key}:"
                yield from outline(item, depth + 1)
            elif isinstance(item, str) and "\n" in item:
                yield f"{pad}{key}:"
                yield from (f"{pad}  | {line}".rstrip() for line in item.rstrip("\n").split("\n"))
            else:
                yield f"{pad}{key}: {_word(item)}"
    elif isinstance(value, list):
        for item in value:
            lines = list(outline(item, depth + 1))
            if lines:
                yield f"{pad}- {lines[0].lstrip()}"
                yield from lines[1:]
    else:
        yield f"{pad}{_word(value)}"


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or value in ({}, []):
        return "-"
    return json.dumps(value)


COMMANDS = {
    ("explain",): Command(
        usage="explain [options] WHAT [ARG...]",
        help="Says why a decision fell.\n\n"
        + textwrap.fill(f"WHAT is {', '.join(_WHATS[:-1])} or {_WHATS[-1]};", 78)
        + "\nARGs are names, or key=value. Examples: explain dns web.service.consul type=SRV;\n"
        "explain intention web db; explain service web node=n1; explain acl key write a/b\n"
        "(of the token that is shown); explain route web api -path /v1/items.",
        run=_explain,
        server=True,
        flags_anywhere=True,
        flags=(
            Flag("format", "Output format: pretty or json.", default="pretty"),
            Flag("method", "For an intention or a route: the method of a request."),
            Flag("path", "For an intention or a route: the path of a request."),
            Flag(
                "header",
                "For an intention or a route: a header of a request, as NAME: VALUE;\n"
                "may be repeated.",
                Kind.LIST,
            ),
        ),
    ),
}
