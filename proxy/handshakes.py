"""Why a TLS handshake failed, in one word (mesh contract D.12).

Of its own, because an agent counts the handshakes of its ports by these words and needs nothing
else of what stands in `tls`.
"""

from __future__ import annotations

import ssl

# Numbers of X509_verify_cert that have a word of their own in logs and metrics.
_EXPIRED = {9, 10}  # not yet valid, expired
_UNKNOWN_CA = {2, 18, 19, 20, 21}  # no issuer, self-signed, untrusted chain


def failure(error: BaseException | None) -> str:
    """The word for a failed handshake (contract D.12): what logs and metrics count."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _EXPIRED:
            return "expired"
        return "unknown_ca" if error.verify_code in _UNKNOWN_CA else "bad_certificate"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or ""  # absent when Python itself raised it
        if "DID_NOT_RETURN_A_CERTIFICATE" in reason:
            return "no_cert"
        if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"}:
            return "not_tls"
        if "PROTOCOL" in reason or "VERSION" in reason:
            return "version"
        if "ALERT" in reason:
            return "refused_by_peer"
        return "handshake_failed"
    return "peer_gone"
