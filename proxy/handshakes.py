"""Why a TLS handshake failed, in one word (mesh contract D.12).

Of its own, because an agent counts the handshakes of its ports by these words and needs nothing
else of what stands in `tls`.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable

# Numbers of X509_verify_cert that have a word of their own in logs and metrics.
_EXPIRED = {9, 10}  # not yet valid, expired
_UNKNOWN_CA = {2, 18, 19, 20, 21}  # no issuer, self-signed, untrusted chain
#: How a handshake ends that does not fail; and one that whoever waited for it gave up.
OK, GIVEN_UP = "ok", "given_up"


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


class Greetings:
    """The handshakes of one direction: how many are under way, and how those before ended."""

    __slots__ = ("ended", "on_success", "open")

    def __init__(self) -> None:
        self.open = 0
        #: By result ("ok" or the word of `failure`), version and whether a session was resumed.
        self.ended: Counter[tuple[str, str, bool]] = Counter()
        #: Hears how many seconds each one took that succeeded.
        self.on_success: Callable[[float], None] = lambda _: None

    def over(self, result: str, version: str, resumed: bool, took_s: float) -> None:
        """One that was under way has ended."""
        self.open -= 1
        self.ended[result, version, resumed] += 1
        if result == OK:
            self.on_success(took_s)
