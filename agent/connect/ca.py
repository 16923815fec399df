"""The built-in certificate authority: roots, and leaves from signing requests.

Pure: keys, serial numbers, the random part of names and the time come in as arguments, so that the
leader makes finished bytes and every server stores the same. Certificate profiles and the order of
the signing rules are the mesh contract's A.2; who may ask (access lists) and how fast (A.6) is
decided by the caller.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.connect.serials import colons, serial_hex
from agent.dates import rfc3339
from agent.errors import RequestError
from proxy import spiffe
from proxy.errors import IdentityError
from proxy.spiffe import Kind, SpiffeId
from raftstore.records import CAProviderState, CARoot

ROOT_NAME = "Consul CA Root Cert"
ROOT_TTL_S = 87_600 * 3600.0
LEAF_TTL_S = 72 * 3600.0
#: A certificate begins a little early, for verifiers whose clocks are behind (contract A.2).
BACKDATE_S = 60.0
#: A signing request is about 500 bytes; twenty times that is nobody's honest request.
CSR_MAX_BYTES = 16_384
RSA_BITS_MIN, EC_BITS_MIN = 2048, 256

_CN_MAX = 64
#: A root's serial number is shown as 64 bits (measured reference); those of others have up to 160.
_SHOWN_SERIAL = (1 << 64) - 1
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_NOT_IN_CN = re.compile(r"[^a-z0-9]")

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_CURVES: dict[int, type[ec.EllipticCurve]] = {
    224: ec.SECP224R1,
    256: ec.SECP256R1,
    384: ec.SECP384R1,
    521: ec.SECP521R1,
}


@dataclass(frozen=True, slots=True)
class Root:
    """A new root: what everybody may know, and what only the servers keep."""

    public: CARoot
    secret: CAProviderState


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCertificate:
    """A signed leaf: PEM chain (leaf first), serial in hex with colons, and its validity."""

    cert_pem: str
    serial_number: str
    uri: str
    valid_after: datetime
    valid_before: datetime


def generate_key(kind: str = "ec", bits: int = 256) -> PrivateKey:
    """A fresh key; by default P-256, the kind of all leaves and of the default root."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return ec.generate_private_key(_CURVES[bits]())


def kind_of(key: PrivateKey) -> tuple[str, int]:
    """The type and size of a key as clients name them."""
    return ("rsa" if isinstance(key, rsa.RSAPrivateKey) else "ec"), key.key_size


def make_root(
    *,
    key: PrivateKey,
    cluster_id: str,
    serial: int,
    name_part: str,
    now: datetime,
    ttl_s: float = ROOT_TTL_S,
) -> Root:
    """A self-signed root for the trust domain ``<cluster_id>.consul``.

    ``name_part`` is eight random characters (base 36): two roots of equal subject would break path
    building in some verifiers.
    """
    trust_domain = f"{cluster_id}.consul"
    name = authority_name("pri", name_part, cluster_id)
    start = now.astimezone(UTC).replace(microsecond=0)
    end = start + timedelta(seconds=ttl_s)
    key_id = key_identifier(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(ca=True), critical=True)
        .add_extension(san(SpiffeId(kind=Kind.CA, trust_domain=trust_domain)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier(key_id), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(key_id, None, None), critical=False)
        .sign(key, signature_hash(key))
    )
    return root_of(certificate, key, cluster_id=cluster_id)


def authority_name(place: str, name_part: str, cluster_id: str) -> x509.Name:
    """The subject of an authority: ``place`` is "pri" for a root, "sec" for one below it."""
    return _name(f"{place}-{name_part}.consul.ca.{cluster_id[:8]}.consul")


def root_of(certificate: x509.Certificate, key: PrivateKey, *, cluster_id: str) -> Root:
    """The records of a root certificate and its key."""
    return _records([certificate], key, cluster_id)


def external_root(path: Sequence[x509.Certificate], key: PrivateKey, *, cluster_id: str) -> Root:
    """The records of a root whose key we have not: ``path`` leads from the certificate of ``key``
    to it, and has been checked."""
    return _records(path, key, cluster_id)


def _records(path: Sequence[x509.Certificate], key: PrivateKey, cluster_id: str) -> Root:
    signing, certificate = path[0], path[-1]
    pem, above = _pem(certificate), tuple(_pem(each) for each in path[:-1])
    root_id = colons(hashlib.sha1(certificate.public_bytes(serialization.Encoding.DER)).digest())  # noqa: S324  (an identifier that clients know, no signature)
    of_root = certificate.public_key()
    assert isinstance(of_root, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    kind = "rsa" if isinstance(of_root, rsa.RSAPublicKey) else "ec"
    public = CARoot(
        id=root_id,
        name=ROOT_NAME,
        serial_number=certificate.serial_number & _SHOWN_SERIAL,
        signing_key_id=colons(subject_key_id(signing)),
        external_trust_domain=cluster_id,
        not_before=rfc3339(certificate.not_valid_before_utc),
        not_after=rfc3339(certificate.not_valid_after_utc),
        root_cert=pem,
        intermediate_certs=above,
        private_key_type=kind,
        private_key_bits=of_root.key_size,
    )
    secret = CAProviderState(
        root_id=root_id, private_key=key_pem(key), root_cert=pem, signing_chain="".join(above)
    )
    return Root(public, secret)


def subject_key_id(certificate: x509.Certificate) -> bytes:
    """The identifier of a certificate's key: what it says itself, else what we would say."""
    try:
        return certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        ).value.digest
    except x509.ExtensionNotFound:
        public = certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return key_identifier(public)


def make_csr(key: PrivateKey, identity: SpiffeId) -> str:
    """A signing request for a leaf, PEM."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_name(common_name(identity)))
        .add_extension(san(identity), critical=False)
        .sign(key, signature_hash(key))
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


@dataclass(frozen=True, slots=True)
class LeafRequest:
    """A request for a leaf that keeps all rules: whose it is to be, and of which key."""

    identity: SpiffeId
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def read_csr(csr_pem: str, *, trust_domain: str, datacenter: str) -> LeafRequest:
    """Apply the signing rules that need no secret, in their order (contract A.2).

    Raises RequestError 400 with the rule that was broken.
    """
    csr = _parsed(csr_pem)
    try:
        valid = csr.is_signature_valid
        extensions = csr.extensions
    except _UNREADABLE as error:
        raise RequestError(400, f"invalid CSR: {error}") from error
    if not valid:
        raise RequestError(400, "invalid CSR signature")
    identity = _requested_identity(extensions)
    if identity.trust_domain != trust_domain.lower():
        raise RequestError(
            400,
            f"signing certificate for a different trust domain: SPIFFE ID is of "
            f"{identity.trust_domain}, we are {trust_domain.lower()}",
        )
    if identity.kind not in {Kind.SERVICE, Kind.AGENT}:
        raise RequestError(400, "SPIFFE ID in CSR must be a service or agent ID")
    if identity.datacenter != datacenter:
        raise RequestError(
            400,
            f"SPIFFE ID in CSR from a different datacenter: {identity.datacenter}, "
            f"we are {datacenter}",
        )
    public_key = _requested_key(csr)
    _check_no_ca(extensions)
    return LeafRequest(identity, public_key)


def requested_identity(csr_pem: str) -> SpiffeId:
    """Whose certificate is asked for. Raises RequestError 400 for what is no request."""
    csr = _parsed(csr_pem)
    try:
        extensions = csr.extensions
    except _UNREADABLE as error:
        raise RequestError(400, f"invalid CSR: {error}") from error
    return _requested_identity(extensions)


def _parsed(csr_pem: str) -> x509.CertificateSigningRequest:
    if len(csr_pem) > CSR_MAX_BYTES:
        raise RequestError(400, f"CSR is larger than {CSR_MAX_BYTES} bytes")
    try:
        return x509.load_pem_x509_csr(csr_pem.encode())
    except _UNREADABLE as error:
        raise RequestError(400, f"invalid CSR: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """A key that signs leaves, with what each of them takes from its certificate.

    To read a private key takes longer than to sign with it, so it is read once.
    """

    key: PrivateKey = field(repr=False)
    name: x509.Name
    key_id: x509.AuthorityKeyIdentifier
    ends_at: datetime
    #: What a leaf brings with it: certificates between it and the root, PEM.
    chain: str
    #: The root as the former one signed it, and until when that is of use.
    cross_signed: str
    crossed_until: datetime | None


def signer_of(kept: CAProviderState) -> Signer:
    """What signs, from the servers' records (with the private key opened)."""
    issuer = signing_certificate(kept)
    key = serialization.load_pem_private_key(kept.private_key.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    until = None
    if kept.intermediate_cert:
        crossed = x509.load_pem_x509_certificate(kept.intermediate_cert.encode())
        until = crossed.not_valid_after_utc
    return Signer(
        key=key,
        name=issuer.subject,
        key_id=x509.AuthorityKeyIdentifier(subject_key_id(issuer), None, None),
        ends_at=issuer.not_valid_after_utc,
        chain=kept.signing_chain,
        cross_signed=kept.intermediate_cert,
        crossed_until=until,
    )


def sign_leaf(
    request: LeafRequest,
    *,
    signer: Signer,
    serial: int,
    ttl_s: float,
    now: datetime,
    dns_names: tuple[str, ...] = (),
) -> SignedCertificate:
    """Sign a request. Raises RequestError when what signs has ended.

    Everything but the identity and the key comes from our template: what else was asked for
    (usages, validity, DNS names) is dropped; ``dns_names`` are those that an ingress gateway is
    known to have. The end is never past the signer's own.
    """
    identity, now = request.identity, now.astimezone(UTC)
    start = (now - timedelta(seconds=BACKDATE_S)).replace(microsecond=0)
    end = min(start + timedelta(seconds=BACKDATE_S + ttl_s), signer.ends_at)
    if end <= now:
        raise RequestError(500, "the signing certificate has expired")
    key_id = x509.SubjectKeyIdentifier(key_identifier(request.public_key))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name(identity)))
        .issuer_name(signer.name)
        .public_key(request.public_key)
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(_NO_AUTHORITY, critical=True)
        .add_extension(_LEAF_USAGE, critical=True)
        .add_extension(_BOTH_SIDES, critical=False)
        .add_extension(san(identity, dns_names), critical=False)
        .add_extension(key_id, critical=False)
        .add_extension(signer.key_id, critical=False)
        .sign(signer.key, signature_hash(signer.key))
    )
    chain = _pem(certificate) + signer.chain
    if signer.crossed_until is not None and signer.crossed_until > now:
        chain += signer.cross_signed
    return SignedCertificate(
        cert_pem=chain,
        serial_number=serial_hex(serial),
        uri=identity.uri,
        valid_after=start,
        valid_before=end,
    )


def signing_certificate(signer: CAProviderState) -> x509.Certificate:
    """The certificate of the key that signs: the root's, or that of an intermediate below it."""
    return x509.load_pem_x509_certificate((signer.signing_chain or signer.root_cert).encode())


def common_name(identity: SpiffeId) -> str:
    """The CN of a leaf: decoration for people, never used for a decision (contract A.1)."""
    tail = f"{identity.trust_domain[:8]}.consul"
    name = _NOT_IN_CN.sub("", identity.name.lower())
    middle = "agnt" if identity.kind is Kind.AGENT else f"svc.{spiffe.NAMESPACE}"
    rest = f".{middle}.{tail}"
    return f"{name[: _CN_MAX - len(rest)]}{rest}"


def key_identifier(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    """SKI: SHA-256 of the public key's DER form, 32 bytes (contract A.2)."""
    return hashlib.sha256(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    ).digest()


def key_pem(key: PrivateKey) -> str:
    """A private key in the form clients expect: "EC PRIVATE KEY" or "RSA PRIVATE KEY"."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()


def _requested_identity(extensions: x509.Extensions) -> SpiffeId:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    try:
        return spiffe.of_uris(uris)
    except IdentityError as error:
        text = str(error).replace("certificate must", "CSR must")
        raise RequestError(400, f"invalid CSR: {text}") from error


def _requested_key(
    csr: x509.CertificateSigningRequest,
) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    try:
        key = csr.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RequestError(400, f"invalid CSR: {error}") from error
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= EC_BITS_MIN:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN:
        return key
    raise RequestError(
        400, f"CSR key must be EC of {EC_BITS_MIN} or RSA of {RSA_BITS_MIN} bits or more"
    )


def _check_no_ca(extensions: x509.Extensions) -> None:
    try:
        asked = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return
    if asked.ca or asked.path_length is not None:
        raise RequestError(400, "CSR must not ask for a CA certificate")


def signature_hash(
    key: PrivateKey,
) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """The hash that goes with a key (mesh contract A.2)."""
    bits = key.curve.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 0
    if bits == 384:
        return hashes.SHA384()
    return hashes.SHA512() if bits == 521 else hashes.SHA256()


def usage(*, ca: bool) -> x509.KeyUsage:
    """What a key may be used for: an authority's, or a leaf's (contract A.2)."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not ca,
        data_encipherment=not ca,
        key_agreement=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


_NO_AUTHORITY = x509.BasicConstraints(ca=False, path_length=None)
_LEAF_USAGE = usage(ca=False)
_BOTH_SIDES = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def san(identity: SpiffeId, dns_names: Iterable[str] = ()) -> x509.SubjectAlternativeName:
    """The one URI that certificates of the mesh have, and the DNS names of an ingress gateway."""
    uri = x509.UniformResourceIdentifier(identity.uri)
    return x509.SubjectAlternativeName([uri, *map(x509.DNSName, dns_names)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
