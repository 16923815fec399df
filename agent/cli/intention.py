"""`intention`: who may talk to whom."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from agent.cli.command import Call, Command, columns
from agent.cli.flags import Flag, Kind

_LABEL_WIDTH = 14
_CHECK_ERROR = 2
#: When an intention without an id was made: Go's zero time, as its client shows it.
_NEVER = "0001-01-01T00:00:00+00:00"
_EXACT = "/v1/connect/intentions/exact"


def _bare(name: str) -> str:
    """A service's name as Go's client reads it: a namespace may stand before it."""
    namespace, slash, service = name.rpartition("/")
    if slash and namespace not in {"", "default"}:
        raise ValueError(f"Invalid service name {name!r}: namespaces are not supported")
    return service


def _pair(args: tuple[str, ...]) -> list[tuple[str, str]]:
    return [("source", _bare(args[0])), ("destination", _bare(args[1]))]


def describe(intention: Mapping[str, Any]) -> str:
    """``web => db (allow)``"""
    action = intention.get("Action") or ""
    permissions = intention.get("Permissions") or ()
    if permissions:
        count = len(permissions)
        action = f"{count} permission{'' if count == 1 else 's'}"
    return f"{intention['SourceName']} => {intention['DestinationName']} ({action})"


def _create(call: Call) -> int:
    from agent.cli.client import ClientError

    flags = call.flags
    if flags["allow"] and flags["deny"]:
        return call.fail("Only one of -allow or -deny may be specified.")
    try:
        wanted = _from_files(call.args) if flags["file"] else [_from_args(call)]
    except ValueError as error:
        return call.fail(f"Error: {error}")
    client = call.client()
    for intention in wanted:
        query = [
            ("source", str(intention.get("SourceName", ""))),
            ("destination", str(intention.get("DestinationName", ""))),
        ]
        if flags["replace"]:
            try:
                if _replaced(client, intention, query):
                    continue
            except ClientError as error:
                return call.fail(
                    f'Error replacing intention with source "{query[0][1]}" and destination '
                    f'"{query[1][1]}": {error}'
                )
        text = describe({"SourceName": "", "DestinationName": "", **intention})
        try:
            _post(client, intention)
        except ClientError as error:
            return call.fail(f'Error creating intention "{text}": {error}')
        call.say(f"Created: {text}")
    return 0


def _replaced(client: Any, intention: Mapping[str, Any], query: list[tuple[str, str]]) -> bool:
    """Replace the intention of this pair; False when there is none yet."""
    from agent.cli.client import expect

    answer = client.get(_EXACT, query)
    if answer.status == 404:
        return False
    expect(answer)
    expect(client.put(_EXACT, query, json.dumps(intention).encode()))
    return True


def _post(client: Any, intention: Mapping[str, Any]) -> None:
    """Create through the old form of the API, which refuses pairs that exist and gives an id."""
    from agent.cli.client import expect

    expect(client.request("POST", "/v1/connect/intentions", (), json.dumps(intention).encode()))


def _from_args(call: Call) -> dict[str, Any]:
    if len(call.args) != 2:
        raise ValueError("Must specify two arguments: source and destination")
    intention: dict[str, Any] = {
        "SourceName": _bare(call.args[0]),
        "DestinationName": _bare(call.args[1]),
        "SourceType": "consul",
        "Action": "deny" if call.flags["deny"] else "allow",
    }
    if call.flags["meta"]:
        intention["Meta"] = call.flags["meta"]
    return intention


def _from_files(paths: Iterable[str]) -> list[dict[str, Any]]:
    from agent.cli.client import open_error

    found = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                intention = json.load(file)
        except OSError as error:
            raise ValueError(open_error(path, error)) from None
        if not isinstance(intention, dict):
            raise ValueError(f"{path}: an intention is a JSON object")  # noqa: TRY004
        found.append(intention)
    return found


def _check(call: Call) -> int:
    from agent.cli.client import ClientError

    if len(call.args) != 2:
        return call.fail("Error: command requires exactly two arguments: src and dst", _CHECK_ERROR)
    try:
        found = call.client().read("/v1/connect/intentions/check", _pair(call.args))
    except (ClientError, ValueError) as error:
        return call.fail(f"Error checking the connection: {error}", _CHECK_ERROR)
    call.say("Allowed" if found["Allowed"] else "Denied")
    return 0 if found["Allowed"] else 1


def _match(call: Call) -> int:
    from agent.cli.client import ClientError

    flags = call.flags
    if len(call.args) != 1:
        return call.fail("Error: command requires exactly one argument: src or dst")
    if flags["source"] and flags["destination"]:
        return call.fail("Error: only one of -source or -destination may be specified")
    by = "source" if flags["source"] else "destination"
    try:
        name = _bare(call.args[0])
        found = call.client().read("/v1/connect/intentions/match", [("by", by), ("name", name)])
    except (ClientError, ValueError) as error:
        return call.fail(f"Error matching the connection: {error}")
    for intention in (found or {}).get(name) or ():
        call.say(describe(intention))
    return 0


def _list(call: Call) -> int:
    from agent.cli.client import ClientError

    try:
        found = call.client().read("/v1/connect/intentions")
    except ClientError as error:
        return call.fail(f"Failed to retrieve the intentions list: {error}")
    if not found:
        return call.fail("There are no intentions.", 2)
    call.say(list_table(found))
    return 0


def list_table(intentions: Iterable[Mapping[str, Any]]) -> str:
    """The table of intentions in the order given."""
    rows: list[tuple[Any, ...]] = [("ID", "Source", "Action", "Destination", "Precedence")]
    for each in intentions:
        source, destination = each["SourceName"], each["DestinationName"]
        action = each.get("Action") or ""
        rows.append((each.get("ID") or "", source, action, destination, each["Precedence"]))
    return columns(rows)


def _get(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if len(call.args) not in {1, 2}:
        return call.fail("Error: command requires 1 or 2 arguments")
    try:
        client = call.client()
        if len(call.args) == 1:
            answer = client.get(f"/v1/connect/intentions/{call.args[0]}")
            missing = f"Intention not found with ID {json.dumps(call.args[0])}"
        else:
            pair = _pair(call.args)
            answer = client.get(_EXACT, pair)
            missing = (
                f'Intention not found with source "{pair[0][1]}" and destination "{pair[1][1]}"'
            )
        if answer.status == 404:
            return call.fail(missing)
        found = expect(answer).json()
    except (ClientError, ValueError) as error:
        return call.fail(f"Error reading the intention: {error}")
    call.say(block(found))
    return 0


def block(intention: Mapping[str, Any]) -> str:
    """One intention, a line for each thing that is known of it."""
    lines = [
        ("Source:", intention["SourceName"]),
        ("Destination:", intention["DestinationName"]),
        ("Action:", intention.get("Action")),
        ("ID:", intention.get("ID")),
        ("Description:", intention.get("Description")),
        *((f"Meta[{key}]:", value) for key, value in sorted((intention.get("Meta") or {}).items())),
        ("Created At:", _rfc850(intention.get("CreatedAt") or _NEVER)),
    ]
    text = "\n".join(f"{label.ljust(_LABEL_WIDTH)}{value}" for label, value in lines if value)
    if intention.get("Permissions"):
        text += "\nPermissions:\n" + json.dumps(intention["Permissions"], indent=2)
    return text


def _rfc850(text: str) -> str:
    """A moment of RFC 3339 as RFC 850 prints it: Monday, 02-Jan-06 15:04:05 UTC."""
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = "UTC" if not moment.utcoffset() else moment.strftime("%z")
    return moment.strftime("%A, %d-%b-%y %H:%M:%S ") + zone


def _delete(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    if len(call.args) not in {1, 2}:
        return call.fail("Error: command requires 1 or 2 arguments")
    try:
        if len(call.args) == 1:
            expect(call.client().delete(f"/v1/connect/intentions/{call.args[0]}"))
        else:
            expect(call.client().delete(_EXACT, _pair(call.args)))
    except (ClientError, ValueError) as error:
        return call.fail(f"Error deleting the intention: {error}")
    call.say("Intention deleted.")
    return 0


def _plan(call: Call) -> int:
    from urllib.parse import quote

    from agent.cli.client import ClientError

    if len(call.args) != 2:
        return call.fail("Error: command requires exactly two arguments: src and dst", 2)
    actions = [name for name in ("allow", "audit", "deny", "delete") if call.flags[name]]
    if len(actions) > 1:
        return call.fail("Only one of -allow, -audit, -deny or -delete may be specified.", 2)
    try:
        path = "/".join(quote(_bare(name), safe="*") for name in call.args)
        query = [("action", actions[0] if actions else "allow")]
        query += [("live", "")] if call.flags["live"] else []
        found = call.client().read(f"/v1/explain/intention-plan/{path}", query)
    except (ClientError, ValueError) as error:
        return call.fail(f"Error planning the intention: {error}", 2)
    if found["Replaces"]:
        call.say(f"There is: {found['Replaces']}")
    if not found["Changes"]:
        call.say("No pair of known services would be decided differently.")
        return _live(call, found)
    rows: list[tuple[Any, ...]] = [("Source", "Destination", "Now", "Then")]
    rows += [tuple(each.values()) for each in found["Changes"]]
    call.say(columns(rows))
    if found["Count"] > len(found["Changes"]):
        call.say(f"... and {found['Count'] - len(found['Changes'])} more pairs")
    return _live(call, found)


def _learn(call: Call) -> int:
    from agent.cli.client import ClientError

    if call.args:
        return call.fail("Error: command takes no arguments", 2)
    try:
        query = [("since", call.flags.text("since"))]
        found = call.client().read("/v1/explain/intention-learn", query)
    except ClientError as error:
        return call.fail(f"Error asking what was seen: {error}", 2)
    proposed = found["Proposed"]
    if call.flags["commands"]:
        for each in proposed:
            pair = f"{shlex.quote(each['Source'])} {shlex.quote(each['Destination'])}"
            call.say(f"lictor intention create -allow {pair}")
        return _heard(call, found, aside=True)
    if proposed:
        call.say("Seen and let in, and no intention is about just these two:")
        call.say(_seen(proposed))
    else:
        call.say("Nothing was seen that an intention of its own does not speak of.")
    if found["Refused"]:
        call.say("\nRefused:")
        call.say(_seen(found["Refused"]))
    call.say("")
    return _heard(call, found)


def _seen(pairs: Iterable[Mapping[str, Any]]) -> str:
    rows: list[tuple[Any, ...]] = [
        ("Source", "Destination", "Let In", "Refused", "Nodes", "Decided By")
    ]
    return columns(rows + [tuple(each.values()) for each in pairs])


def _heard(call: Call, found: Mapping[str, Any], *, aside: bool = False) -> int:
    """How much of the cluster has answered; ``aside`` where the result is for programs."""
    say = call.fail if aside else call.say
    say(f"{found['Heard']} of {found['Asked']} agents told of their sidecars.")
    if found["More"]:
        say("Some have more than they could tell of.")
    return call.fail(f"Error asking the agents: {found['Error']}", 2) if found["Error"] else 0


def _live(call: Call, found: Mapping[str, Any]) -> int:
    """The connections that stand and would not any more."""
    live = found["Live"]
    if live is None:
        return 0
    if live["Ending"]:
        rows: list[tuple[Any, ...]] = [
            ("Source", "Destination", "Node", "Connections", "HTTP Connections")
        ]
        rows += [tuple(each.values())[:5] for each in live["Ending"]]
        call.say("\nConnections that would be cut, and those whose requests would be refused:")
        call.say(columns(rows))
    else:
        call.say("\nNo connection that stands would be cut.")
    return _heard(call, live)


COMMANDS = {
    ("intention", "create"): Command(
        usage="intention create [options] SRC DST",
        help="Says whether SRC may connect to DST; with -file the words are JSON files.",
        run=_create,
        server=True,
        namespace=True,
        flags=(
            Flag("allow", "Allow connections (the default).", Kind.BOOL),
            Flag("deny", "Deny connections.", Kind.BOOL),
            Flag("file", "Read the intentions from files.", Kind.BOOL),
            Flag("meta", "Metadata; may be repeated.", Kind.MAP),
            Flag("replace", "Replace the intention if there is one.", Kind.BOOL),
        ),
    ),
    ("intention", "plan"): Command(
        usage="intention plan [options] SRC DST",
        help="Shows for which pairs of known services the answer would change if the intention"
        '\nwere set, or deleted; nothing is written. "requests" says that permissions decide on'
        "\neach request. The exit status is 2 on an error, else 0.",
        run=_plan,
        server=True,
        namespace=True,
        error_status=_CHECK_ERROR,
        flags=(
            Flag("allow", "Allow connections (the default).", Kind.BOOL),
            Flag("audit", "Allow connections and tell of them.", Kind.BOOL),
            Flag("deny", "Deny connections.", Kind.BOOL),
            Flag("delete", "Delete the intention.", Kind.BOOL),
            Flag("live", "Ask all agents which connections that stand would end.", Kind.BOOL),
        ),
    ),
    ("intention", "learn"): Command(
        usage="intention learn [options]",
        help="Shows who asked whom lately, as all sidecars tell, and what intentions would let in"
        "\njust that; nothing is written. Sidecars count from their start. Read it before you"
        "\nturn to a default of deny. The exit status is 2 on an error, else 0.",
        run=_learn,
        server=True,
        error_status=_CHECK_ERROR,
        flags=(
            Flag("since", "How long ago somebody may have asked last.", default="24h"),
            Flag("commands", "Print the commands that create the intentions.", Kind.BOOL),
        ),
    ),
    ("intention", "check"): Command(
        usage="intention check [options] SRC DST",
        help="Says whether a connection would be allowed: status 0 allowed, 1 denied, 2 error.",
        run=_check,
        server=True,
        namespace=True,
        error_status=_CHECK_ERROR,
    ),
    ("intention", "match"): Command(
        usage="intention match [options] SRC_OR_DST",
        help="Shows the intentions for a service, the one that counts first.",
        run=_match,
        server=True,
        namespace=True,
        flags=(
            Flag("destination", "Match by destination (the default).", Kind.BOOL),
            Flag("source", "Match by source.", Kind.BOOL),
        ),
    ),
    ("intention", "list"): Command(
        usage="intention list [options]",
        help="Lists all intentions.",
        run=_list,
        server=True,
        namespace=True,
    ),
    ("intention", "get"): Command(
        usage="intention get [options] SRC DST",
        help="Shows an intention, by its services or by its id.",
        run=_get,
        server=True,
        namespace=True,
    ),
    ("intention", "delete"): Command(
        usage="intention delete [options] SRC DST",
        help="Deletes an intention, by its services or by its id.",
        run=_delete,
        server=True,
        namespace=True,
    ),
}
