"""`/v1/connect/ca/revoke` and `…/revocations`: certificates that count no more (ours)."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.acl.authorizer import READ
from agent.connect import revoking
from agent.dates import rfc3339
from agent.errors import RequestError
from agent.http.call import Call
from agent.http.decode import DecodeFailure, Shape, load, string
from agent.http.reply import Reply
from raftstore.definitions import RevokedLeaf
from raftstore.queries import GetCARoots
from raftstore.records import Json
from raftstore.revocations import DropRevocations, ListRevocations, RevokeLeaf

BODY = Shape(
    "Revocation",
    {
        "SerialNumber": ("serial", string),
        "CertPEM": ("cert_pem", string),
        "ServiceURI": ("uri", string),
        "Service": ("service", string),
        "Node": ("node", string),
        "Before": ("before", string),
        "Reason": ("reason", string),
    },
)


async def revoke(call: Call) -> Reply:
    """Deny certificates to every proxy of the mesh, on open connections too."""
    call.check_datacenter()
    try:
        given = BODY.read("", load(call.body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Request decode failed: {error}") from None
    wish = revoking.Wish(**{**given, "before": _moment(given.get("before", ""))})
    roots = (await call.ask(GetCARoots())).value
    if not roots.trust_domain:
        raise RequestError(500, "CA is uninitialized and unable to revoke anything")
    entry = revoking.entry(
        wish, trust_domain=roots.trust_domain, datacenter=call.context.config.datacenter
    )
    made = await call.change(
        RevokeLeaf(entry, revoking.LEAF_LIFE_MAX_S), refused_prefix="Revocation refused: "
    )
    return call.json({"ID": str(made)})


async def list_all(call: Call) -> Reply:
    """The whole list. Proxies follow it, so it is open; why is for those who may see that."""
    options = call.options()
    found = await call.ask(ListRevocations(), options)
    told = call.may("operator", READ)
    return call.answer([_shown(each, told=told) for each in found.value], found)


async def drop(call: Call) -> Reply:
    """Take one entry from the list: its certificates count again."""
    named = call.params.get("id")
    if not named:
        raise RequestError(400, "Bad request: Missing the parameter id")
    if not await call.change(DropRevocations((named,))):
        raise RequestError(404, f'No revocation has the id "{named}"')
    return call.json(True)


def _moment(text: str) -> float:
    """An RFC 3339 time as Unix seconds; "" is 0. Raises RequestError."""
    if not text:
        return 0.0
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise RequestError(400, f'Bad request: Before: "{text[:64]}" is no RFC 3339 time')
    return when.timestamp()


def _shown(each: RevokedLeaf, *, told: bool) -> Json:
    shown: dict[str, Json] = {
        "ID": each.id,
        "SerialNumber": each.serial,
        "ServiceURI": each.uri,
        "Before": each.before if each.uri else 0,
        "RevokedAt": _date(each.revoked_at),
        "ExpiresAt": _date(each.expires_at),
        "CreateIndex": each.create_index,
        "ModifyIndex": each.modify_index,
    }
    return shown | {"Reason": each.reason} if told else shown


def _date(stamp: float) -> str:
    return rfc3339(datetime.fromtimestamp(stamp, UTC))
