"""What the proxy reads in a peer's certificate; signatures are checked by TLS before this.

Decides only that the certificate may be used for the role its holder plays (extended key usage
must be present, mesh contract D.2) and gives the identity to whoever decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy import spiffe
from proxy.errors import IdentityError
from proxy.spiffe import SpiffeId

#: What cryptography raises for certificates that are none, are damaged, or lack what we need.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,  # where warnings are errors: a serial that is not positive
)


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A verified certificate: whose it is, its serial number, its end and beginning (Unix time)."""

    identity: SpiffeId
    serial_number: int
    not_after_at: float
    not_before_at: float = 0.0


def read(der: bytes | None, *, client: bool) -> PeerCertificate:
    """Read a peer's certificate; ``client`` when the peer dialled us. Raises IdentityError."""
    if not der:
        raise IdentityError("peer has no certificate")
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions = certificate.extensions
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except UNREADABLE as error:
        raise IdentityError(f"certificate is not a mesh certificate: {error}") from error
    if certificate.serial_number <= 0:
        raise IdentityError("certificate has no serial number (RFC 5280, 4.1.2.2)")
    needed = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
    if needed not in usage:
        raise IdentityError("certificate must not be used for this side of a connection")
    return PeerCertificate(
        identity=spiffe.of_uris(names.get_values_for_type(x509.UniformResourceIdentifier)),
        serial_number=certificate.serial_number,
        not_after_at=certificate.not_valid_after_utc.timestamp(),
        not_before_at=certificate.not_valid_before_utc.timestamp(),
    )
