"""Contexts for TLS between agents, made of files and replaced as a whole on reload.

Servers are known by their certificates (raftstore/raft/identity.py). Whoever dials a server
verifies it against the authority, and its name too for Raft or with ``verify_server_hostname``. A
server asks every caller for a certificate and verifies what it gets; with ``verify_incoming`` there
must be one. Open connections keep what they began with; every new one gets what is in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.backend.rpc.certificate_files import (
    authorities,
    check_pair,
    held,
    make_context,
    unusable,
)
from agent.backend.rpc.expiry import DAY_S, ExpiryWarnings, Held, soonest
from agent.backend.rpc.standing import Standing
from agent.certificates import TlsConfig
from agent.errors import ConfigError
from proxy import certificate as mesh_certificate
from proxy import spiffe
from proxy.errors import IdentityError
from proxy.revocations import NONE, Revocations
from proxy.source import LeafPair
from proxy.spiffe import Kind
from proxy.tls import load_chain
from raftstore.raft import identity

log = logging.getLogger("lictor.agent.rpc.tls")

#: How often certificates are looked at for their end.
EXPIRY_LOOK_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """Who this agent is: what its certificate has to agree with."""

    datacenter: str
    domain: str
    server: bool
    node_id: str


@dataclass(slots=True)
class TlsStats:
    """Seconds until our certificate ends, and the first of the authorities' (negative: since it
    did; 0 where there is none); reloads since the start."""

    certificate_expires_s: float = 0.0
    authority_expires_s: float = 0.0
    reloads: int = 0
    reloads_failed: int = 0


class RpcTls:
    """The contexts in force."""

    def __init__(self, config: TlsConfig, own: Own, *, gives_out: bool = False) -> None:
        """Read the files. Raises ConfigError that names key and file.

        ``gives_out``: client agents without a certificate may come in and ask for one.
        """
        self._own = own
        self._gives_out = gives_out
        self._roots_pem: tuple[str, ...] = ()
        self._denied = NONE
        self._adopted: LeafPair | None = None
        self._stats = TlsStats()
        self._warnings = ExpiryWarnings()
        self._read(config)

    def reload(self, config: TlsConfig) -> None:
        """Read the files anew. Raises ConfigError and then keeps what was in force."""
        try:
            self._read(config)
        except ConfigError:
            self._stats.reloads_failed += 1
            raise
        self._stats.reloads += 1
        self.warn_of_expiry()

    def _read(self, config: TlsConfig) -> None:
        found = authorities(config)
        if config.cert_file:
            certificate = check_pair(config)
            if self._own.server:
                der = certificate.public_bytes(serialization.Encoding.DER)
                _check_server(config, self._own, der)
            found.insert(0, held("certificate", certificate))
        server = make_context(config, ssl.PROTOCOL_TLS_SERVER)
        # Nobody resumes: a session must not outlive the authority that vouched for it.
        server.options |= ssl.OP_NO_TICKET
        server.num_tickets = 0
        demanding = config.verify_incoming and not self._gives_out
        server.verify_mode = ssl.CERT_REQUIRED if demanding else ssl.CERT_OPTIONAL
        if self._roots_pem:
            server.load_verify_locations(cadata="\n".join(self._roots_pem))
        peer = make_context(config, ssl.PROTOCOL_TLS_CLIENT)
        client = make_context(config, ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = config.verify_server_hostname
        if self._adopted is not None:
            load_chain(client, self._adopted)
            adopted = x509.load_pem_x509_certificate(self._adopted.cert_pem.encode())
            found.insert(0, held("certificate", adopted))
        self._config, self._server, self._peer, self._client = config, server, peer, client
        self.held: tuple[Held, ...] = tuple(found)

    def trust_mesh(self, roots_pem: tuple[str, ...]) -> None:
        """Take certificates of agents that these roots vouch for, beside the configured ones'."""
        self._roots_pem = roots_pem
        self._read(self._config)

    def deny(self, denied: Revocations) -> None:
        """Certificates of the mesh that count no more, from now on."""
        self._denied = denied

    def denied(self, certificate: bytes | None) -> str:
        """Why a verified certificate counts no more, "" if it does. Those of the operator's
        authority always count: it has its own ways."""
        if certificate is None or self._denied == NONE:
            return ""
        try:
            return self._denied.why(mesh_certificate.read(certificate, client=True))
        except IdentityError:
            return ""

    def adopt(self, cert_pem: str, key_pem: str) -> None:
        """Show this certificate to servers from now on. Raises ValueError when it is none."""
        before = self._adopted
        self._adopted = LeafPair(cert_pem=cert_pem, private_key_pem=key_pem)
        try:
            self._read(self._config)
        except (ssl.SSLError, ValueError) as error:
            self._adopted = before
            raise ValueError(f"the certificate cannot be used: {error}") from None

    def standing(self, certificate: bytes | None) -> Standing:
        """What the holder of a verified certificate (None: has none) may ask of a server."""
        if certificate is None:
            limited = self._gives_out and self._config.verify_incoming
            return Standing.ONLY_A_CERTIFICATE if limited else Standing.ALL
        if self.denied(certificate):
            return Standing.ONLY_A_CERTIFICATE
        if not self._roots_pem:
            return Standing.ALL
        uris = [name for name in identity.names(certificate) if name.startswith("spiffe:")]
        if not uris:
            return Standing.ALL  # of the operator's authority: the mesh's always have one
        # The mesh vouches for services too; none of these is an agent.
        with contextlib.suppress(IdentityError):
            if spiffe.of_uris(uris).kind is Kind.AGENT:
                return Standing.ALL
        with contextlib.suppress(identity.IdentityError):
            identity.read(certificate, domain=self._own.domain)
            return Standing.ALL
        return Standing.NOTHING

    def stats(self) -> TlsStats:
        """The figures as they stand."""
        now, stats = time.time(), self._stats
        ours, theirs = soonest(self.held, "certificate"), soonest(self.held, "authority")
        stats.certificate_expires_s = ours.expires_at - now if ours else 0.0
        stats.authority_expires_s = theirs.expires_at - now if theirs else 0.0
        return stats

    def warn_of_expiry(self) -> None:
        """Say which certificates end soon; of each once at each of a few points in time."""
        now = time.time()
        for each in self._warnings.due(self.held, now):
            left_s = each.expires_at - now
            log.warning(
                "%s for tls between agents %s subject=%s serial=%x left_days=%.1f",
                each.kind, "ends soon" if left_s > 0 else "has expired",
                each.subject, each.serial, left_s / DAY_S,
            )  # fmt: skip

    async def watch_expiry(self) -> None:
        """Look for ever."""
        while True:
            self.warn_of_expiry()
            await asyncio.sleep(EXPIRY_LOOK_S)

    @property
    def server_name(self) -> str:
        """The name that a server's certificate must carry."""
        return identity.server_name(self._own.datacenter, self._own.domain)

    def toward(self, datacenter: str) -> TlsElsewhere:
        """For requests to the servers of another datacenter."""
        return TlsElsewhere(self, identity.server_name(datacenter, self._own.domain))

    @property
    def verifies_incoming(self) -> bool:
        """Are plain callers and callers without certificate refused?"""
        return self._config.verify_incoming

    def server_context(self) -> ssl.SSLContext:
        """For callers of our server port."""
        return self._server

    def client_context(self) -> ssl.SSLContext | None:
        """For requests to servers; None when these go out plain."""
        return self._client if self._config.dials_tls else None

    def peer_context(self) -> ssl.SSLContext:
        """For Raft links to servers."""
        return self._peer

    def peer_refusal(self, certificate: bytes | None, node_id: str | None) -> str:
        """Why the holder of this certificate may not speak Raft as the node, "" if it may."""
        try:
            found = identity.read(certificate, domain=self._own.domain)
        except identity.IdentityError as error:
            return error.refusal.value
        return (
            identity.refusal(
                found,
                datacenter=self._own.datacenter,
                node_id=node_id,
                node_ids_required=self._config.require_node_id,
            )
            or ""
        )

    def names_of(self, certificate: bytes | None) -> str:
        """The names in a verified certificate, for people; "" without one."""
        return " ".join(identity.names(certificate))


class TlsElsewhere:
    """The same authority and certificate, and other names of servers."""

    __slots__ = ("_tls", "server_name")

    def __init__(self, tls: RpcTls, server_name: str) -> None:
        self._tls = tls
        self.server_name = server_name

    def client_context(self) -> ssl.SSLContext | None:
        """As it is in force."""
        return self._tls.client_context()


def _check_server(config: TlsConfig, own: Own, der: bytes) -> None:
    try:
        reason = identity.refusal(
            identity.read(der, domain=own.domain),
            datacenter=own.datacenter,
            node_id=own.node_id,
            node_ids_required=config.require_node_id,
        )
    except identity.IdentityError as error:
        reason = error.refusal
    if reason is not None:
        name = identity.server_name(own.datacenter, own.domain)
        raise unusable(
            config,
            "cert_file",
            f"other servers would refuse it: {reason} (it must name {name}, and node {own.node_id}"
            " if any)",
        )
