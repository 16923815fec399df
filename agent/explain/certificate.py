"""Why a certificate of the mesh counts, or counts no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from agent.backend import Backend
from agent.dates import date
from agent.errors import RequestError
from proxy import spiffe
from proxy.errors import IdentityError
from proxy.revocations import read_serial
from raftstore.definitions import RevokedLeaf
from raftstore.queries import GetCARoots
from raftstore.records import Json
from raftstore.revocations import ListRevocations

Explain = Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]
#: Entries that are shown where nothing was asked about.
SHOWN_MAX = 50


def certificate_explainer(backend: Backend, datacenter: str) -> Explain:
    """Explains what the deny list says of a serial number (`serial=`) or a service's certificates
    (its name, or `uri=`); without either, the list."""

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        listed = (await backend.ask(ListRevocations())).value
        serial, uri, name = query.get("serial", ""), query.get("uri", ""), "/".join(arguments)
        if not (serial or uri or name):
            return {
                "Revocations": len(listed),
                "Newest": [_entry(each) for each in sorted(listed, key=_when)[:SHOWN_MAX]],
            }
        if name and not uri:
            roots = (await backend.ask(GetCARoots())).value
            uri = spiffe.SpiffeId.service(roots.trust_domain, datacenter, name).uri
        met = [each for each in listed if _meets(each, serial, uri)]
        return {
            "Serial": serial,
            "ServiceURI": uri,
            "Denied": bool(met),
            "Because": [_entry(each) for each in met],
            "Note": "" if met else "no entry of the deny list is about it",
        }

    return explain


def _when(each: RevokedLeaf) -> float:
    return -each.revoked_at


def _meets(each: RevokedLeaf, serial: str, uri: str) -> bool:
    if serial and each.serial:
        return _number(serial) == _number(each.serial)
    if not (uri and each.uri):
        return False
    try:
        return spiffe.parse(uri) == spiffe.parse(each.uri)
    except IdentityError as error:
        raise RequestError(400, f"uri: {error}") from None


def _number(text: str) -> int:
    try:
        return read_serial(text)
    except ValueError as error:
        raise RequestError(400, f"serial: {error}") from None


def _entry(each: RevokedLeaf) -> Json:
    shown: dict[str, Json] = {"ID": each.id, "RevokedAt": date(each.revoked_at)}
    if each.uri:
        shown["IssuedBefore"] = date(each.before)
    return shown | {"ExpiresAt": date(each.expires_at), "Reason": each.reason}
