"""`/v1/kv/`: keys and values (http-api contract 2)."""

from __future__ import annotations

import functools

from agent.backend import Ask
from agent.backend import Reply as Answered
from agent.errors import RequestError
from agent.http import render
from agent.http.call import Call, Change, Read
from agent.http.params import parse_uint
from agent.http.reply import Reply
from raftstore.commands import (
    Command,
    KVDelete,
    KVDeleteTree,
    KVLock,
    KVSet,
    KVUnlock,
    kv_set,
)
from raftstore.queries import KVGet, KVKeys, KVList
from raftstore.records import KVPair

_REFUSED = "raft apply failed: "
_RAW_HEADERS = ("X-Content-Type-Options: nosniff", "Content-Security-Policy: sandbox")


def get(call: Call) -> Read:
    """One key, all keys below a prefix, or their names."""
    params = call.params
    options = call.options()
    if "keys" in params:
        return _keys(call, options)
    if "recurse" in params:
        return call.read(KVList(call.rest), options, functools.partial(_listed, call))
    if not call.rest:
        raise RequestError(400, "Missing key name")
    shape = _raw if "raw" in params else _found
    return call.read(KVGet(call.rest), options, functools.partial(shape, call))


def _found(call: Call, found: Answered[KVPair | None]) -> Reply:
    headers = call.read_headers(found, effective=False)
    if found.value is None:
        return Reply(status=404, headers=headers)
    return call.json([render.kv_pair(found.value)], headers=headers)


def _raw(call: Call, found: Answered[KVPair | None]) -> Reply:
    headers = call.read_headers(found, effective=False)
    if found.value is None:
        return Reply(status=404, headers=headers)
    return Reply(found.value.value, "text/plain", 200, headers + _RAW_HEADERS)


def _listed(call: Call, listed: Answered[tuple[KVPair, ...]]) -> Reply:
    headers = call.read_headers(listed, effective=False)
    if not listed.value:
        return Reply(status=404, headers=headers)
    return call.listing(listed.value, render.kv_pair, headers=headers)


def _keys(call: Call, options: Ask) -> Read:
    separator = call.params.get("separator") or call.params.get("seperator")

    def shape(found: Answered[tuple[str, ...]]) -> Reply:
        headers = call.read_headers(found, effective=False)
        if not found.value and call.rest:
            return Reply(status=404, headers=headers)
        return call.listing(found.value, str, headers=headers)

    return call.read(KVKeys(call.rest, separator), options, shape)


def put(call: Call) -> Change:
    """Write one key, unconditionally, by compare-and-set, or with a lock."""
    params = call.params
    if call.quiet and call.rest:
        command = kv_set(call.rest, call.body, 0, None)
        return call.quiet_change(command, call.truth, _REFUSED, true_for=True)
    call.options()
    if not call.rest:
        raise RequestError(400, "Missing key name")
    _refuse_conflict(call, "cas", "acquire", "release")
    flags = parse_uint(params.get("flags")) if "flags" in params else 0
    cas = parse_uint(params.get("cas")) if "cas" in params else None
    key, value = call.rest, call.body
    change: Command = KVSet(key=key, value=value, flags=flags, cas=cas)
    if "acquire" in params:
        session = params.get("acquire")
        change = KVLock(key=key, session=session, value=value, flags=flags)
    elif "release" in params:
        session = params.get("release")
        change = KVUnlock(key=key, session=session, value=value, flags=flags)
    return call.change_of(change, call.truth, _REFUSED)


async def delete(call: Call) -> Reply:
    """Delete one key, by compare-and-set if asked, or everything below a prefix."""
    params = call.params
    call.options()
    if not call.rest and "recurse" not in params:
        raise RequestError(400, "Missing key name")
    _refuse_conflict(call, "recurse", "cas")
    if "recurse" in params:
        value = await call.change(KVDeleteTree(prefix=call.rest), refused_prefix=_REFUSED)
        return call.json(bool(value))
    cas = parse_uint(params.get("cas")) if "cas" in params else None
    value = await call.change(KVDelete(key=call.rest, cas=cas), refused_prefix=_REFUSED)
    return call.json(bool(value))


def _refuse_conflict(call: Call, *names: str) -> None:
    if sum(name in call.params for name in names) > 1:
        raise RequestError(400, f"Conflicting flags: {call.params.encode()}")
