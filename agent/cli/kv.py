"""`kv get`, `kv put`, `kv delete`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind

if TYPE_CHECKING:
    from agent.cli.client import Query

_LABEL_WIDTH = 17


class DataError(Exception):
    """The value that was named cannot be read."""


def read_data(call: Call, text: str) -> bytes:
    """The value behind an argument: "@file", "-" for standard input, else the text itself."""
    from agent.cli.client import open_error

    if text == "-":
        return call.stdin.read()
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    try:
        with open(text[1:], "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError(f"Failed to read file: {open_error(text[1:], error)}") from None


def read_tree(call: Call, key: str, query: Query) -> list[Any]:
    """What the store answers, [] when it has nothing. Raises ClientError."""
    from agent.cli.client import ClientError

    answer = call.client().get(f"/v1/kv/{key}", query)
    if answer.status == 404:
        return []
    if answer.status != 200:
        # Without the body: scripts know this shorter text.
        raise ClientError(f"Unexpected response code: {answer.status}", status=answer.status)
    return list(answer.json())


def failed_read(call: Call, error: Exception) -> int:
    """How a read that did not work is told."""
    return call.fail(f"Error querying {call.title} agent: {error}")


def _get(call: Call) -> int:
    from agent.cli.client import ClientError

    flags = call.flags
    many = flags["keys"] or flags["recurse"]
    if len(call.args) > 1:
        return call.fail(f"Too many arguments (expected 1, got {len(call.args)})")
    key = (call.args[0] if call.args else "").removeprefix("/")
    if not key and not many:
        return call.fail("Error! Missing KEY argument")
    query: list[tuple[str, str]] = []
    if flags["keys"]:
        query = [("keys", ""), ("separator", flags["separator"])]
    elif flags["recurse"]:
        query = [("recurse", "")]
    try:
        found = read_tree(call, key, query)
    except ClientError as error:
        return failed_read(call, error)
    if flags["keys"]:
        for name in found:
            call.say(name)
        return 0
    if flags["recurse"]:
        _say_tree(call, found)
        return 0
    if not found:
        return call.fail(f"Error! No key exists at: {key}")
    if flags["detailed"]:
        call.raw(detailed(found[0], as_base64=flags["base64"]))
    else:
        call.raw(_shown(found[0], as_base64=flags["base64"]) + b"\n")
    return 0


def _say_tree(call: Call, pairs: list[Mapping[str, Any]]) -> None:
    as_base64 = call.flags["base64"]
    for at, pair in enumerate(pairs):
        if not call.flags["detailed"]:
            key = pair["Key"].encode("utf-8", "surrogatepass")
            call.raw(key + b":" + _shown(pair, as_base64=as_base64) + b"\n")
            continue
        call.raw(detailed(pair, as_base64=as_base64) + (b"\n" if at < len(pairs) - 1 else b""))


def _shown(pair: Mapping[str, Any], *, as_base64: bool) -> bytes:
    encoded = pair.get("Value") or ""
    return str(encoded).encode() if as_base64 else base64.b64decode(encoded)


def detailed(pair: Mapping[str, Any], *, as_base64: bool) -> bytes:
    """A key with everything about it, a line each."""
    lines = [
        ("CreateIndex", pair["CreateIndex"]),
        ("Flags", pair["Flags"]),
        ("Key", pair["Key"]),
        ("LockIndex", pair["LockIndex"]),
        ("ModifyIndex", pair["ModifyIndex"]),
        ("Session", pair.get("Session") or "-"),
    ]
    text = "".join(f"{label.ljust(_LABEL_WIDTH)}{value}\n" for label, value in lines)
    value = b"Value".ljust(_LABEL_WIDTH) + _shown(pair, as_base64=as_base64)
    return text.encode("utf-8", "surrogatepass") + value + b"\n"


def _put(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    flags = call.flags
    if not call.args:
        return call.fail("Error! Missing KEY argument")
    if len(call.args) > 2:
        return call.fail(f"Error! Too many arguments (expected 1 or 2, got {len(call.args)})")
    key = call.args[0]
    try:
        data = read_data(call, call.args[1] if len(call.args) > 1 else "")
    except DataError as error:
        return call.fail(f"Error! {error}")
    if flags["base64"]:
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            # The reference tells the mistake and writes the raw text.
            call.fail(f"Error! Cannot base 64 decode data: {error}")
    if (flags["acquire"] or flags["release"]) and not flags["session"]:
        return call.fail("Error! Missing -session (required with -acquire and -release)")
    if key.startswith("/"):
        return call.fail(
            f"Error! Failed writing data: Invalid key. Key must not begin with a '/': {key}"
        )
    try:
        answer = expect(call.client().put(f"/v1/kv/{key}", _put_query(call), data))
    except ClientError as error:
        return call.fail(f"Error! Failed writing data: {error}")
    return _told_put(call, key, written=b"true" in answer.body)


def _put_query(call: Call) -> list[tuple[str, str]]:
    flags = call.flags
    query: list[tuple[str, str]] = []
    if flags["flags"]:
        query.append(("flags", str(flags["flags"])))
    if flags["acquire"]:
        query.append(("acquire", flags["session"]))
    elif flags["release"]:
        query.append(("release", flags["session"]))
    elif flags["cas"]:
        query.append(("cas", str(flags["modify-index"])))
    return query


def _told_put(call: Call, key: str, *, written: bool) -> int:
    flags = call.flags
    if flags["acquire"] or flags["release"]:
        verb, done = ("acquire", "acquired") if flags["acquire"] else ("release", "released")
        if not written:
            return call.fail(f"Error! Did not {verb} lock")
        call.say(f"Success! Lock {done} on: {key}")
        return 0
    if not written:
        if flags["cas"] and not flags["modify-index"]:
            return call.fail(
                f"Error! Did not write to {key}: CAS performed with index=0 and key already exists."
            )
        return call.fail(f"Error! Did not write to {key}: CAS failed")
    call.say(f"Success! Data written to: {key}")
    return 0


def _delete(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    flags = call.flags
    if len(call.args) > 1:
        return call.fail(f"Too many arguments (expected 1, got {len(call.args)})")
    key = (call.args[0] if call.args else "").removeprefix("/")
    if not key and not flags["recurse"]:
        return call.fail("Error! Missing KEY argument")
    if flags["cas"] and flags["recurse"]:
        return call.fail("Cannot specify both -cas and -recurse!")
    if flags["modify-index"] and not flags["cas"]:
        return call.fail("Cannot specify -modify-index without -cas!")
    if flags["cas"] and not flags["modify-index"]:
        return call.fail(
            "Cannot delete a key that does not exist. Provide a -modify-index greater than than 0."
        )
    query: list[tuple[str, str]] = []
    if flags["recurse"]:
        query = [("recurse", "")]
    elif flags["cas"]:
        query = [("cas", str(flags["modify-index"]))]
    try:
        answer = expect(call.client().delete(f"/v1/kv/{key}", query))
    except ClientError as error:
        if flags["recurse"]:
            return call.fail(f"Error! Did not delete prefix {key}: {error}")
        return call.fail(f"Error deleting key {key}: {error}")
    if b"true" not in answer.body:
        return call.fail(f"Error! Did not delete key {key}: CAS failed")
    call.say(f"Success! Deleted {'keys with prefix' if flags['recurse'] else 'key'}: {key}")
    return 0


COMMANDS = {
    ("kv", "get"): Command(
        usage="kv get [options] [KEY_OR_PREFIX]",
        help="Prints the value of a key, or the keys and values below a prefix.",
        run=_get,
        server=True,
        namespace=True,
        flags=(
            Flag("base64", "Print values in base64.", Kind.BOOL),
            Flag("detailed", "Print everything known about a key.", Kind.BOOL),
            Flag("keys", "List keys only.", Kind.BOOL),
            Flag("recurse", "All keys with this prefix.", Kind.BOOL),
            Flag("separator", "Where -keys cuts keys.", default="/"),
        ),
    ),
    ("kv", "put"): Command(
        usage="kv put [options] KEY [DATA]",
        help='Writes a key. DATA is the value, "@file", or "-" for standard input.',
        run=_put,
        server=True,
        namespace=True,
        flags=(
            Flag("acquire", "Take the lock for -session.", Kind.BOOL),
            Flag("base64", "DATA is in base64.", Kind.BOOL),
            Flag("cas", "Write only if -modify-index still holds.", Kind.BOOL),
            Flag("flags", "A number to keep with the key.", Kind.UINT),
            Flag("modify-index", "The index for -cas; 0: only if the key is new.", Kind.UINT),
            Flag("release", "Give the lock of -session back.", Kind.BOOL),
            Flag("session", "Id of a session, for -acquire and -release."),
        ),
    ),
    ("kv", "delete"): Command(
        usage="kv delete [options] KEY_OR_PREFIX",
        help="Removes a key, or all keys with a prefix.",
        run=_delete,
        server=True,
        namespace=True,
        flags=(
            Flag("cas", "Delete only if -modify-index still holds.", Kind.BOOL),
            Flag("modify-index", "The index for -cas.", Kind.UINT),
            Flag("recurse", "All keys with this prefix.", Kind.BOOL),
        ),
    ),
}
