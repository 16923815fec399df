"""What an operator's wish to revoke certificates of the mesh comes to (mesh contract A.9).

Pure: makes the entry for the deny list, and says which entry a certificate meets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.connect.serials import serial_hex
from agent.errors import RequestError
from proxy import spiffe, x509_der
from proxy.errors import IdentityError
from proxy.revocations import Revocations, of_entries, read_serial
from proxy.spiffe import SpiffeId
from raftstore.definitions import RevokedLeaf

#: No leaf lives longer, whatever the configuration is or was (contract A.4).
LEAF_LIFE_MAX_S = 8760 * 3600.0
REASON_CHARS_MAX = 512
PEM_CHARS_MAX = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be revoked: one certificate, by serial number or as PEM, or all of a SPIFFE id, a
    service or a client agent of this datacenter that were issued before a moment (Unix seconds; 0:
    until now)."""

    serial: str = ""
    cert_pem: str = ""
    uri: str = ""
    service: str = ""
    node: str = ""
    before: float = 0.0
    reason: str = ""


def entry(wish: Wish, *, trust_domain: str, datacenter: str) -> RevokedLeaf:
    """For the list. Raises RequestError 400 that says what is wrong with the wish."""
    given = [bool(each) for each in (
        wish.serial, wish.cert_pem, wish.uri, wish.service, wish.node
    )]  # fmt: skip
    if sum(given) != 1:
        raise _bad("give one of SerialNumber, CertPEM, ServiceURI, Service and Node")
    if len(wish.reason) > REASON_CHARS_MAX:
        raise _bad(f"Reason has at most {REASON_CHARS_MAX} characters")
    if wish.before < 0:
        raise _bad("Before is before 1970")
    if wish.before and (wish.serial or wish.cert_pem):
        raise _bad("Before goes with ServiceURI, Service or Node")
    if wish.cert_pem:
        return _certificate(wish, trust_domain)
    if wish.serial:
        try:
            serial = serial_hex(read_serial(wish.serial))
        except ValueError as error:
            raise _bad(str(error)) from None
        return RevokedLeaf(id=serial, serial=serial, reason=wish.reason)
    identity = _identity(wish, trust_domain, datacenter)
    return RevokedLeaf(id=identity.uri, uri=identity.uri, before=wish.before, reason=wish.reason)


def _certificate(wish: Wish, trust_domain: str) -> RevokedLeaf:
    if len(wish.cert_pem) > PEM_CHARS_MAX:
        raise _bad(f"CertPEM has at most {PEM_CHARS_MAX} characters")
    try:
        found = x509_der.read(x509_der.of_pem(wish.cert_pem))
        identity = spiffe.of_uris(found.uris or ())
    except (x509_der.NotReadable, IdentityError) as error:
        raise _bad(f"CertPEM is no certificate of the mesh: {error}") from None
    if identity.trust_domain != trust_domain.lower():
        raise _bad(f"CertPEM is of trust domain {identity.trust_domain}, we are {trust_domain}")
    if identity.kind is spiffe.Kind.CA:
        raise _bad("CertPEM is of an authority: rotate the root instead")
    serial = serial_hex(found.serial_number)
    return RevokedLeaf(
        id=serial,
        serial=serial,
        reason=wish.reason,
        expires_at=found.not_after_at,
    )


def _identity(wish: Wish, trust_domain: str, datacenter: str) -> SpiffeId:
    if wish.service:
        return SpiffeId.service(trust_domain, datacenter, wish.service)
    if wish.node:
        return SpiffeId(
            kind=spiffe.Kind.AGENT,
            trust_domain=trust_domain.lower(),
            datacenter=datacenter,
            name=wish.node,
        )
    try:
        identity = spiffe.parse(wish.uri)
    except IdentityError as error:
        raise _bad(f"ServiceURI: {error}") from None
    if identity.kind not in {spiffe.Kind.SERVICE, spiffe.Kind.AGENT}:
        raise _bad("ServiceURI is not of a service or a client agent")
    if identity.trust_domain != trust_domain.lower():
        raise _bad(f"ServiceURI is of trust domain {identity.trust_domain}, we are {trust_domain}")
    return identity


def in_force(entries: Iterable[RevokedLeaf]) -> Revocations:
    """The list as connections are judged by it."""
    return of_entries((each.serial, each.uri, each.before) for each in entries)


def denied(entries: Iterable[RevokedLeaf], identity: SpiffeId, serial: str) -> str:
    """Why a certificate of which no more is known counts no more, "" if it does.

    Its serial number tells when it was issued: the lower half is a counter (contract A.9).
    """
    try:
        number = read_serial(serial)
    except ValueError:
        return ""  # clients may write there what they like
    counter = number & ((1 << 64) - 1)
    for each in entries:
        if each.serial and read_serial(each.serial) == number:
            return f"Certificate with serial {serial} was revoked"
        if each.uri == identity.uri and counter <= each.counter:
            return f"Certificates of {each.uri} issued so far were revoked"
    return ""


def _bad(text: str) -> RequestError:
    return RequestError(400, f"Bad request: {text}")
