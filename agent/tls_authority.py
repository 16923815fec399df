"""The authority of TLS between agents: its own certificate, and the ones that it gives out.

Pure: keys, serial numbers and the time come in as arguments. What is made is what `consul tls`
makes (measured reference, cli-config contract A2), so that either program's certificates serve the
other: the role is told by a DNS name ``server.<datacenter>.<domain>`` (``client.``, ``cli.``). Ours
may also bind a server's certificate to its node id (raftstore/raft/identity.py).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raftstore.raft import identity

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

SERVER, CLIENT, CLI = "server", "client", "cli"
#: Serial numbers are at most 20 octets (RFC 5280, 4.1.2.2) and positive.
SERIAL_BITS = 159
#: Certificates end before the year 10000, which their dates cannot write.
DAYS_MAX = 365 * 1000
_CN_CHARS_MAX = 64
_LOOPBACK = ipaddress.ip_address("127.0.0.1")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_DATACENTER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_USES = {
    SERVER: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    CLIENT: (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    CLI: (ExtendedKeyUsageOID.CLIENT_AUTH,),
}


class IssueError(Exception):
    """Such a certificate cannot be made; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority: its certificate and the key of it."""

    certificate: x509.Certificate
    key: SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityRequest:
    """An authority as the operator wants it. ``permitted``: DNS names that it may vouch for, with
    all below them; none: any."""

    domain: str
    days: int
    common_name: str = ""
    cluster_id: str = ""
    permitted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A certificate as the operator wants it. ``node`` and ``node_id`` are for servers."""

    role: str
    datacenter: str
    domain: str
    days: int
    node: str = ""
    node_id: str = ""
    dns_names: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()


def generate_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def check_name(name: str, what: str) -> str:
    """The DNS name without its last dot. Raises IssueError."""
    bare = name.removesuffix(".")
    if len(bare) > 253 or not _NAME.fullmatch(bare):
        raise IssueError(f'{what} "{name}" is not a valid DNS name')
    return bare


def read_address(text: str) -> Address:
    """An IP address. Raises IssueError."""
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        raise IssueError(f'"{text}" is not a valid IP address') from None


def make_authority(
    request: AuthorityRequest, *, key: ec.EllipticCurvePrivateKey, serial: int, now: datetime
) -> x509.Certificate:
    """A self-signed certificate of an authority. Raises IssueError."""
    domain = check_name(request.domain, "domain")
    begin, end = _validity(request.days, now)
    common_name = request.common_name or f"Consul Agent CA {serial}"
    name = _subject(common_name)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(name, name, key.public_key(), serial, begin, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    if request.cluster_id:
        uri = f"spiffe://{request.cluster_id}.{domain}"
        try:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        except ValueError:
            raise IssueError(f'cluster id "{request.cluster_id}" cannot stand in a URI') from None
        builder = builder.add_extension(names, critical=False)
    if request.permitted:
        permitted = [x509.DNSName(check_name(each, "name")) for each in request.permitted]
        builder = builder.add_extension(x509.NameConstraints(permitted, None), critical=True)
    return builder.sign(key, hashes.SHA256())


def read_signer(certificate_pem: bytes, key_pem: bytes) -> Signer:
    """An authority from its files. Raises IssueError when it cannot sign."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    except (ValueError, x509.DuplicateExtension) as error:
        raise IssueError(f"error parsing the CA's certificate: {error}") from None
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IssueError(f"error parsing the CA's key: {error}") from None
    if not isinstance(key, SigningKey):
        raise IssueError("the CA's key is of a kind that signs no certificates")
    if key.public_key() != certificate.public_key():
        raise IssueError("the CA's key is not the key of its certificate")
    if not constraints.ca:
        raise IssueError("the certificate given as CA is not one of an authority")
    return Signer(certificate, key)


def issue(
    request: CertificateRequest,
    signer: Signer,
    *,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    now: datetime,
) -> x509.Certificate:
    """A certificate for an agent or a user of one. Raises IssueError.

    None is made that nobody would take: past the authority's end, or with a name that it may not
    vouch for.
    """
    dns = dns_names(request)
    for name in dns:
        _check_permitted(name, signer.certificate)
    begin, end = _validity(request.days, now)
    if begin > signer.certificate.not_valid_after_utc:
        raise IssueError("the CA's certificate has expired")
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
    names += [x509.IPAddress(each) for each in _addresses(request)]
    if request.node_id:
        uri = identity.server_uri(request.datacenter.lower(), request.domain, request.node_id)
        names.append(x509.UniformResourceIdentifier(uri))
    try:
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
            signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        )
    except x509.ExtensionNotFound:
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    digest = None if isinstance(signer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        _builder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, dns[0][:_CN_CHARS_MAX])]),
            signer.certificate.subject,
            key.public_key(),
            serial,
            begin,
            end,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USES[request.role]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(authority, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signer.key, digest)
    )


def dns_names(request: CertificateRequest) -> list[str]:
    """The DNS names of a certificate, the one that tells the role first. Raises IssueError."""
    domain = check_name(request.domain, "domain")
    if not _DATACENTER.fullmatch(request.datacenter):
        raise IssueError(f'datacenter "{request.datacenter}" is not a valid name')
    if request.role != SERVER and (request.node or request.node_id):
        raise IssueError("-node requires -server" if request.node else "-node-id requires -server")
    if request.node_id and not _NODE_ID.fullmatch(request.node_id):
        raise IssueError(f'node id "{request.node_id}" is not a valid id')
    names = [f"{request.role}.{request.datacenter}.{domain}"]
    if request.node:
        names.append(check_name(f"{request.node}.{names[0]}", "node's name"))
    if request.role != CLI:
        names.append("localhost")
    names += [check_name(name, "DNS name") for name in request.dns_names]
    return list(dict.fromkeys(names))


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The key as text, in the form that `consul tls` writes (SEC 1)."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """The certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _addresses(request: CertificateRequest) -> Iterable[Address]:
    own = () if request.role == CLI else (_LOOPBACK,)
    return dict.fromkeys((*own, *request.addresses))


def _check_permitted(name: str, authority: x509.Certificate) -> None:
    """RFC 5280, 4.2.1.10, for DNS names: equal to a permitted one, or below it."""
    try:
        found = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return
    permitted = [each.value for each in found.permitted_subtrees or () if _is_dns(each)]
    excluded = [each.value for each in found.excluded_subtrees or () if _is_dns(each)]
    if permitted and not any(_below(name, each) for each in permitted):
        raise IssueError(f'the CA may not vouch for the name "{name}", only for {permitted}')
    if any(_below(name, each) for each in excluded):
        raise IssueError(f'the CA may not vouch for the name "{name}"')


def _is_dns(name: x509.GeneralName) -> bool:
    return isinstance(name, x509.DNSName)


def _below(name: str, zone: str) -> bool:
    name, zone = name.lower(), zone.lower().removeprefix(".")
    return not zone or name == zone or name.endswith(f".{zone}")


def _validity(days: int, now: datetime) -> tuple[datetime, datetime]:
    if not 0 < days <= DAYS_MAX:
        raise IssueError(f"-days must be between 1 and {DAYS_MAX}")
    begin = now.astimezone(UTC).replace(microsecond=0)
    return begin, begin + timedelta(days=days)


def _subject(common_name: str) -> x509.Name:
    if not 0 < len(common_name) <= _CN_CHARS_MAX:
        raise IssueError(f"a common name has between 1 and {_CN_CHARS_MAX} characters")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
