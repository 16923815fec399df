"""`/v1/operator/keyring`: the gossip keys of all agents (http-api contract 18)."""

from __future__ import annotations

import re

from agent import key_pools
from agent.errors import RequestError
from agent.http.call import Call
from agent.http.decode import DecodeFailure, Shape, load, octets, string
from agent.http.params import parse_bool
from agent.http.parse import several
from agent.http.reply import Reply
from agent.key_pools import KeyPool
from gossip import KeyOperation, KeyReport, KeyringError, QueryError
from gossip.asking import RELAY_FACTOR_MAX
from raftstore.records import Json

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
REQUEST = Shape("keyringArgs", {"Key": ("key", string)})


async def list_keys(call: Call) -> Reply:
    """Which member holds which keys, counted per pool."""
    relay_factor, local_only = _relay_factor(call), _local_only(call)
    call.check_datacenter()
    context = call.context
    wan = None if local_only or context.wan is None else context.wan.ring_keys
    try:
        report = await context.gossip.ring_keys.list(relay_factor=relay_factor)
        between = None if wan is None else await wan.list(relay_factor=relay_factor)
    except QueryError as error:
        raise RequestError(500, str(error)) from None
    return call.json([_shown(pool) for pool in _pools(call, report, between)])


async def install(call: Call) -> Reply:
    """Give a key to every member; it is not used yet."""
    return await _change(call, KeyOperation.INSTALL)


async def use(call: Call) -> Reply:
    """Encrypt with this key from now on."""
    return await _change(call, KeyOperation.USE)


async def remove(call: Call) -> Reply:
    """Take a key away from every member."""
    return await _change(call, KeyOperation.REMOVE)


async def _change(call: Call, operation: KeyOperation) -> Reply:
    try:
        text = REQUEST.read("", load(call.body)).get("key", "")
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Request decode failed: {error}") from None
    relay_factor = _relay_factor(call)
    if _local_only(call):
        raise RequestError(
            400, "Bad request: Invalid local-only: local-only can only be set for list requests"
        )
    call.check_datacenter()
    try:
        key = octets("Key", text)
    except DecodeFailure as error:
        titles = ("WAN", f"{call.context.config.datacenter} (LAN)")
        raise RequestError(500, several([f"{title} error: {error}" for title in titles])) from None
    context = call.context
    try:
        # Each pool decides for itself, and both are told of, as in the reference.
        between = None
        if context.wan is not None:
            between = await context.wan.ring_keys.change(operation, key, relay_factor=relay_factor)
        report = await context.gossip.ring_keys.change(operation, key, relay_factor=relay_factor)
    except (KeyringError, QueryError) as error:
        raise RequestError(500, str(error)) from None
    _pools(call, report, between)
    return Reply()


def _pools(call: Call, report: KeyReport, between: KeyReport | None) -> tuple[KeyPool, ...]:
    """The report by pool. Raises RequestError when anything is wrong in one of them."""
    found = key_pools.pools(report, between, call.context.config.datacenter)
    wrong = key_pools.problems(found)
    if wrong:
        raise RequestError(500, several(wrong))
    return found


def _shown(pool: KeyPool) -> Json:
    shown: dict[str, Json] = {"WAN": pool.wan, "Datacenter": pool.datacenter, "Segment": ""}
    if pool.messages:
        shown["Messages"] = dict(pool.messages)
    return shown | {
        "Keys": dict(pool.keys),
        "PrimaryKeys": dict(pool.primary_keys),
        "NumNodes": pool.nodes,
    }


def _relay_factor(call: Call) -> int:
    text = call.params.get("relay-factor")
    if not text:
        return 0
    if not _INTEGER.fullmatch(text):
        raise RequestError(
            400,
            f'Bad request: Error parsing relay factor: strconv.Atoi: parsing "{text}": '
            "invalid syntax",
        )
    if not 0 <= int(text) <= RELAY_FACTOR_MAX:
        raise RequestError(
            400,
            "Bad request: Invalid relay-factor: Relay factor must be in range: "
            f"[0, {RELAY_FACTOR_MAX}]",
        )
    return int(text)


def _local_only(call: Call) -> bool:
    text = call.params.get("local-only")
    if not text:
        return False
    value = parse_bool(text)
    if value is None:
        raise RequestError(
            400,
            f'Bad request: Error parsing local-only: strconv.ParseBool: parsing "{text}": '
            "invalid syntax",
        )
    return value
