"""SSL contexts made of a leaf and the roots, replaced as a pair when either changes.

Owns how OpenSSL is set up (mesh contract D.12). Hostname checks are off because the identity is the
URI in the certificate, which `connection` compares. Running connections keep the context they began
with, so a replacement cuts nothing.
"""

from __future__ import annotations

import functools
import os
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from proxy import x509_der
from proxy.errors import TlsMaterialError
from proxy.source import LeafPair
from proxy.tls_range import USUAL, TlsRange
from proxy.tunnel.frames import ALPN as TUNNEL_ALPN
from proxy.tunnel.frames import OWN_ALPN

#: Contract D.12; the three suites of TLS 1.3 are OpenSSL's default.
_CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
_VERSIONS = {"TLSv1_2": ssl.TLSVersion.TLSv1_2, "TLSv1_3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Contexts:
    """The pair of contexts of one leaf, and when that leaf ends (Unix time)."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    not_after_at: float
    #: The same, for peers that speak HTTP/2 (ALPN ``h2``).
    http2: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
    #: For dialling peers that may offer a tunnel.
    tunnel: ssl.SSLContext | None = None
    #: For the own connection of a stream that moves much; made when it is first wanted.
    own: Callable[[], ssl.SSLContext] | None = None


def build(
    leaf: LeafPair,
    roots_pem: Sequence[str],
    *,
    tunnel: bool = False,
    ranges: tuple[TlsRange, TlsRange] = (USUAL, USUAL),
) -> Contexts:
    """Make both contexts; ``tunnel``: peers may hear that we know it; ``ranges`` are what is spoken
    by those who dial us and by us.

    Raises TlsMaterialError when key, chain or roots do not fit.
    """
    if not roots_pem:
        raise TlsMaterialError("no root certificate to verify peers with")
    server, client = _pair(leaf, roots_pem, ranges)
    ends_at = x509_der.read(x509_der.of_pem(leaf.cert_pem)).not_after_at
    http2 = _pair(leaf, roots_pem, ranges)
    for context in http2:
        context.set_alpn_protocols(["h2"])
    dialling: ssl.SSLContext | None = None
    own: Callable[[], ssl.SSLContext] | None = None
    if tunnel:
        # A peer that knows the tunnel takes it where we ask for it; all others never hear of it.
        _, dialling = _pair(leaf, roots_pem, ranges)
        server.set_alpn_protocols([TUNNEL_ALPN, OWN_ALPN])
        dialling.set_alpn_protocols([TUNNEL_ALPN])

        @functools.cache
        def own() -> ssl.SSLContext:
            _, context = _pair(leaf, roots_pem, ranges)
            context.set_alpn_protocols([OWN_ALPN])
            return context

    return Contexts(server, client, ends_at, http2, dialling, own)


def front(leaf: LeafPair, allowed: TlsRange, alpn: str) -> ssl.SSLContext:
    """For clients that are in no mesh: they see who we are, and have no certificate themselves.

    Raises TlsMaterialError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        _limit(context, allowed)
        load_chain(context, leaf)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TlsMaterialError(f"leaf or suites cannot be used: {error}") from error
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def _limit(context: ssl.SSLContext, allowed: TlsRange) -> None:
    """Versions, suites, and nothing that TLS had better never had."""
    context.minimum_version = _VERSIONS[allowed.lowest or "TLSv1_2"]
    if allowed.highest:
        context.maximum_version = _VERSIONS[allowed.highest]
    context.set_ciphers(":".join(allowed.suites) or _CIPHERS_1_2)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _pair(
    leaf: LeafPair, roots_pem: Sequence[str], ranges: tuple[TlsRange, TlsRange]
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Tickets cost two records a handshake and serve only clients that resume; ours do not yet.
    server.num_tickets = 0
    try:
        for context, allowed in zip((server, client), ranges, strict=True):
            _limit(context, allowed)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cadata="\n".join(roots_pem))
            load_chain(context, leaf)
        x509_der.read(x509_der.of_pem(leaf.cert_pem))
    except (ssl.SSLError, OSError, ValueError) as error:
        raise TlsMaterialError(f"leaf or roots cannot be used: {error}") from error
    return server, client


def load_chain(context: ssl.SSLContext, leaf: LeafPair) -> None:
    """OpenSSL takes the key from a file only: give it one in memory, or a private one at worst."""
    pem = f"{leaf.cert_pem.rstrip()}\n{leaf.private_key_pem}".encode()
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory(prefix="lictor-") as folder:  # mode 0700
        path = Path(folder) / "leaf.pem"
        path.touch(0o600)
        path.write_bytes(pem)
        context.load_cert_chain(path)
