"""Which versions and suites of TLS a listener or a dial may use (mesh contract C.7, D.12). Pure.

The entries' names of suites are those of the TLS registry (RFC 8447); OpenSSL has others. TLS 1.3's
suites are all good and cannot be chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.errors import SourceError

AUTO = ("", "TLS_AUTO")
VERSIONS = ("TLSv1_2", "TLSv1_3")
#: Only suites with forward secrecy and an AEAD (contract D.12); of the others a few were known to
#: the reference, and are left out here.
SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}


@dataclass(frozen=True, slots=True)
class TlsRange:
    """``lowest`` and ``highest`` are of VERSIONS, "" for the usual; so are no ``suites``, by
    OpenSSL's names."""

    lowest: str = ""
    highest: str = ""
    suites: tuple[str, ...] = ()


USUAL = TlsRange()


def read(given: Any) -> TlsRange:
    """Of an entry's `TLS`, `Incoming` or `Outgoing`. Raises SourceError for what nobody should
    talk: that is not served with something else instead."""
    if not isinstance(given, Mapping):
        return USUAL
    lowest, highest = (
        _version(str(given.get(key) or "")) for key in ("TLSMinVersion", "TLSMaxVersion")
    )
    asked = [str(each) for each in given.get("CipherSuites") or ()]
    unknown = [each for each in asked if each not in SUITES and each not in SUITES.values()]
    if unknown:
        raise SourceError(f"cipher suites that are not served: {', '.join(unknown)}")
    return TlsRange(lowest, highest, tuple(SUITES.get(each, each) for each in asked))


def _version(text: str) -> str:
    if text in AUTO:
        return ""
    if text not in VERSIONS:
        raise SourceError(f'TLS version "{text}" is not served')
    return text
