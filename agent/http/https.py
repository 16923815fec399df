"""The certificates of the HTTP API over TLS, replaced as a whole on reload.

With ``verify_incoming`` whoever comes in shows a certificate of an authority that we know; without
it none is asked for, since browsers would then ask their users for one. Open connections keep what
they began with.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.backend.rpc.certificate_files import authorities, check_pair, held, make_context
from agent.backend.rpc.expiry import Held, soonest
from agent.certificates import TlsConfig
from agent.errors import ConfigError


@dataclass(slots=True)
class HttpsStats:
    """Seconds until our certificate ends (negative: since it did); reloads since the start."""

    certificate_expires_s: float = 0.0
    reloads: int = 0
    reloads_failed: int = 0


class HttpsTls:
    """The context in force, as the listener asks for it (``ListenerTls``)."""

    #: To the listener this says: nobody speaks plain here.
    verifies_incoming = True

    def __init__(self, config: TlsConfig) -> None:
        """Read the files. Raises ConfigError that names key and file."""
        self._stats = HttpsStats()
        self._context, self.held = _read(config)

    def prepare(self, config: TlsConfig) -> Callable[[], None]:
        """Read the files anew; what is given back puts them in force. Raises ConfigError."""
        try:
            found = _read(config)
        except ConfigError:
            self._stats.reloads_failed += 1
            raise

        def put_in_force() -> None:
            self._context, self.held = found
            self._stats.reloads += 1

        return put_in_force

    def server_context(self) -> ssl.SSLContext:
        """For whoever comes in now."""
        return self._context

    def stats(self) -> HttpsStats:
        """The figures as they stand."""
        ours = soonest(self.held, "certificate")
        self._stats.certificate_expires_s = ours.expires_at - time.time() if ours else 0.0
        return self._stats


def _read(config: TlsConfig) -> tuple[ssl.SSLContext, tuple[Held, ...]]:
    if not config.cert_file:
        raise ConfigError(
            "ports.https is set, but there is no certificate to serve with: set"
            " tls.https.cert_file and tls.https.key_file"
        )
    certificate = check_pair(config)
    context = make_context(config, ssl.PROTOCOL_TLS_SERVER)
    # Nobody resumes: a session must not outlive the authority that vouched for it.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED if config.verify_incoming else ssl.CERT_NONE
    return context, (held("certificate", certificate), *authorities(config))
