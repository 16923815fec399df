"""What the proxy reads in a peer's certificate; signatures are checked by TLS before this.

Decides only that the certificate may be used for the role its holder plays (extended key usage
must be present, mesh contract D.2) and gives the identity to whoever decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from proxy import spiffe, x509_der
from proxy.errors import IdentityError
from proxy.spiffe import SpiffeId


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A verified certificate: whose it is, its serial number, its end and beginning (Unix time)."""

    identity: SpiffeId
    serial_number: int
    not_after_at: float
    not_before_at: float = 0.0


@lru_cache(maxsize=128)
def read(der: bytes | None, *, client: bool) -> PeerCertificate:
    """Read a peer's certificate; ``client`` when the peer dialled us. Raises IdentityError.

    What was read is kept: peers come again with the certificate that they had.
    """
    if not der:
        raise IdentityError("peer has no certificate")
    try:
        found = x509_der.read(der)
    except x509_der.NotReadable as error:
        raise IdentityError(f"certificate is not a mesh certificate: {error}") from error
    if found.usages is None or found.uris is None:
        missing = "extended key usage" if found.usages is None else "alternative name"
        raise IdentityError(f"certificate is not a mesh certificate: no {missing}")
    if found.serial_number <= 0:
        raise IdentityError("certificate has no serial number (RFC 5280, 4.1.2.2)")
    needed = x509_der.CLIENT_AUTH if client else x509_der.SERVER_AUTH
    if needed not in found.usages:
        raise IdentityError("certificate must not be used for this side of a connection")
    return PeerCertificate(
        identity=spiffe.of_uris(found.uris),
        serial_number=found.serial_number,
        not_after_at=found.not_after_at,
        not_before_at=found.not_before_at,
    )
