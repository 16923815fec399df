"""Whom a certificate names among a cluster's agents, and whether that one may speak Raft.

Pure: whether the certificate was signed by our authority, is valid now and is meant for this side
of a connection has been decided by TLS before. Two spellings are read. Certificates made for
Consul carry a DNS name, ``server.<datacenter>.<domain>`` (``client.`` and ``cli.`` for others), and
no node. Ours may carry a URI beside it, in the form of Consul's SPIFFE ids of agents with the node
at its end: ``spiffe://<domain>/agent/server/dc/<datacenter>/id/<node id>``. Names that name no
agent (localhost, ``web1.server.dc1.consul``) say nothing; the common name is never looked at.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

from raftstore.raft.members import NODE_ID_CHARS_MAX

_AGENT_URI = re.compile(
    r"spiffe://([A-Za-z0-9._-]{1,255})/agent/(server|client)/dc/([a-z0-9_-]{1,64})"
    rf"(?:/id/([A-Za-z0-9._-]{{1,{NODE_ID_CHARS_MAX}}}))?"
)
_SPIFFE = "spiffe:"


class Role(enum.Enum):
    """What an agent may be to others."""

    SERVER = "server"
    CLIENT = "client"


class Refusal(enum.StrEnum):
    """Why a holder is not let in: words for logs and counters."""

    NO_CERTIFICATE = "no certificate"
    UNREADABLE = "unreadable certificate"
    NAMELESS = "certificate names no agent"
    TWO_IDENTITIES = "certificate names two identities"
    OTHER_TRUST_DOMAIN = "certificate of another trust domain"
    OTHER_DATACENTER = "certificate of another datacenter"
    NOT_A_SERVER = "certificate of a client"
    NO_NODE_ID = "certificate without node id"
    OTHER_NODE = "certificate of another node"


class IdentityError(Exception):
    """The certificate does not say, or not clearly, who its holder is."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Whom a certificate names. ``node_id`` is "" where it names no node."""

    datacenter: str
    role: Role
    node_id: str = ""


def server_name(datacenter: str, domain: str) -> str:
    """The DNS name that the certificates of a datacenter's servers carry."""
    return f"server.{datacenter}.{domain.strip('.')}".lower()


def server_uri(datacenter: str, domain: str, node_id: str) -> str:
    """The URI that binds a server's certificate to its node id."""
    return f"spiffe://{domain.strip('.')}/agent/server/dc/{datacenter}/id/{node_id}"


def read(der: bytes | None, *, domain: str) -> PeerIdentity:
    """Whom a verified certificate names. Raises IdentityError."""
    dns, uris = _names(der)
    return identify(dns, uris, domain=domain)


def names(der: bytes | None) -> list[str]:
    """All names of a certificate that say anything to `read`; none if there are none."""
    try:
        dns, uris = _names(der)
    except IdentityError:
        return []
    return [*dns, *uris]


def _names(der: bytes | None) -> tuple[list[str], list[str]]:
    if not der:
        raise IdentityError(Refusal.NO_CERTIFICATE)
    # A library of 9 MB: only for those who have certificates.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        extensions = x509.load_der_x509_certificate(der).extensions
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return (
            found.get_values_for_type(x509.DNSName),
            found.get_values_for_type(x509.UniformResourceIdentifier),
        )
    except x509.ExtensionNotFound:
        raise IdentityError(Refusal.NAMELESS) from None
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        raise IdentityError(Refusal.UNREADABLE) from None


def identify(dns: Iterable[str], uris: Iterable[str], *, domain: str) -> PeerIdentity:
    """Whom these names name. Raises IdentityError unless it is exactly one agent.

    A URI of the SPIFFE scheme that is no agent's (a service's leaf) names somebody else. Its trust
    domain is the domain, or a cluster's within it (``<cluster id>.<domain>``, as the mesh has it).
    """
    zone = re.escape(domain.strip(".").lower())
    agent = re.compile(rf"(server|client|cli)\.([a-z0-9_-]{{1,64}})\.{zone}")
    found: set[tuple[str, Role]] = set()
    node_ids: set[str] = set()
    for name in dns:
        if match := agent.fullmatch(name.lower().rstrip(".")):
            found.add((match[2], _role(match[1])))
    spiffe = [uri for uri in uris if uri.lower().startswith(_SPIFFE)]
    if len(spiffe) > 1:
        raise IdentityError(Refusal.TWO_IDENTITIES)
    for uri in spiffe:
        match = _AGENT_URI.fullmatch(uri)
        if match is None:
            raise IdentityError(Refusal.TWO_IDENTITIES if found else Refusal.NAMELESS)
        if not re.fullmatch(rf"(?:[a-z0-9-]+\.)?{zone}", match[1].lower()):
            raise IdentityError(Refusal.OTHER_TRUST_DOMAIN)
        found.add((match[3], _role(match[2])))
        node_ids.add(match[4] or "")
    if not found:
        raise IdentityError(Refusal.NAMELESS)
    if len(found) > 1:
        raise IdentityError(Refusal.TWO_IDENTITIES)
    [(datacenter, role)] = found
    return PeerIdentity(datacenter, role, node_ids.pop() if node_ids else "")


def _role(word: str) -> Role:
    return Role.SERVER if word == "server" else Role.CLIENT


def refusal(
    identity: PeerIdentity, *, datacenter: str, node_id: str | None, node_ids_required: bool
) -> Refusal | None:
    """Why the holder may not speak Raft here as ``node_id`` (None: it has not said who it is)."""
    if identity.role is not Role.SERVER:
        return Refusal.NOT_A_SERVER
    if identity.datacenter != datacenter:
        return Refusal.OTHER_DATACENTER
    if not identity.node_id:
        return Refusal.NO_NODE_ID if node_ids_required else None
    if node_id is not None and identity.node_id != node_id:
        return Refusal.OTHER_NODE
    return None
