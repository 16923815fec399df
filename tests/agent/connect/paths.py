"""Whether a chain leads to a trusted root: by hand, so that it is not our own code that says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature

Window = tuple[datetime, datetime]


def load_chain(pem: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem.encode())


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def _within(certificate: x509.Certificate, window: Window) -> Window:
    return (
        max(certificate.not_valid_before_utc, window[0]),
        min(certificate.not_valid_after_utc, window[1]),
    )


@lru_cache(maxsize=4096)
def _windows(chain_pem: str, roots_pem: tuple[str, ...]) -> tuple[Window, ...]:
    """For each path to a root when all of its certificates are valid."""
    leaf, *brought = load_chain(chain_pem)
    roots = [x509.load_pem_x509_certificate(pem.encode()) for pem in roots_pem]

    def paths(certificate: x509.Certificate, window: Window, left: int) -> Iterator[Window]:
        window = _within(certificate, window)
        for root in roots:
            if _issued(certificate, root):
                yield _within(root, window)
        for other in brought if left else ():
            if _issued(certificate, other):
                yield from paths(other, window, left - 1)

    whole = (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    return tuple(paths(leaf, whole, 3))


def verifies(chain_pem: str, roots_pem: Sequence[str], now: datetime) -> bool:
    """Leaf first, then what it brings; every certificate of the path is valid at that moment."""
    return any(start <= now < end for start, end in _windows(chain_pem, tuple(roots_pem)))
