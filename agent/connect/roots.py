"""How one root follows another: what an operator brings, cross-signing, and when old ones go.

Decides whether a configuration means another root (mesh contract A.8), what may be a root, and
the list of roots after a rotation. Pure: keys, serials and the time come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agent.connect import ca
from agent.connect.ca import PrivateKey, Root
from agent.connect.settings import CASettings
from agent.dates import rfc3339
from agent.errors import RequestError
from proxy import spiffe
from proxy.errors import IdentityError
from raftstore.records import CAProviderState, CARoot

#: How long those who know only the old root may take to hear of the new one (measured reference).
CROSS_SIGNED_S = 7 * 86_400.0
#: An inactive root stays for so many lives of a leaf after it was replaced.
KEPT_LIVES = 2.0
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


def wants_another(settings: CASettings, active: CARoot, provider: CAProviderState) -> bool:
    """Whether these settings mean another root than the active one.

    Lives and limits do not. A key or certificate that is given again is the same root; another type
    or size of key is another root, also where nothing else is given.
    """
    if settings.external_signer:
        return False  # another one comes with another intermediate, not with settings
    if provider.signing_chain:
        return True
    if settings.root_cert and settings.root_cert.strip() != provider.root_cert.strip():
        return True
    if settings.private_key:
        return key_of(settings.private_key) != key_of(provider.private_key)
    if settings.root_cert:
        return False  # the key that goes with it is the one that we have
    return (settings.key_type, settings.key_bits) != (
        active.private_key_type,
        active.private_key_bits,
    )


def key_of(pem: str) -> bytes:
    """What tells one private key from another. Raises RequestError."""
    public = load_key(pem).public_key()
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def load_key(pem: str) -> PrivateKey:
    """A private key. Raises RequestError for what is none, or is too weak."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except _UNREADABLE as error:
        raise _refused(f"error parsing private key: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise _refused("private key type must be either 'ec' or 'rsa'")
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < ca.RSA_BITS_MIN:
        raise _refused(f"the private key must be RSA of {ca.RSA_BITS_MIN} bits or more, or EC")
    return key


def brought(settings: CASettings, key: PrivateKey, *, cluster_id: str, now: datetime) -> Root:
    """The root that an operator brings. Raises RequestError for what cannot be ours."""
    try:
        certificate = x509.load_pem_x509_certificate(settings.root_cert.encode())
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise _refused("the root certificate is no CA certificate") from None
    except _UNREADABLE as error:
        raise _refused(f"error parsing root cert: {error}") from None
    if not constraints.ca:
        raise _refused("the root certificate is no CA certificate")
    if certificate.public_key() != key.public_key():
        raise _refused("the private key does not belong to the root certificate")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, *_UNREADABLE):
        raise _refused("the root certificate is not signed by its own key") from None
    if not certificate.not_valid_before_utc <= now + timedelta(minutes=5):
        raise _refused("the root certificate is not valid yet")
    if certificate.not_valid_after_utc <= now + timedelta(seconds=settings.leaf_ttl_s):
        raise _refused("the root certificate ends before its first leaf would")
    check_trust_domain(certificate, f"{cluster_id}.consul")
    return ca.root_of(certificate, key, cluster_id=cluster_id)


def check_trust_domain(certificate: x509.Certificate, trust_domain: str) -> None:
    """A root that names a trust domain must name ours; it need not name one."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        try:
            found = spiffe.parse(uri).trust_domain
        except IdentityError:
            continue
        if found != trust_domain:
            raise _refused(f"the root certificate is of {found}, we are {trust_domain}")


def cross_sign(new: Root, old: CAProviderState, *, serial: int, now: datetime) -> str:
    """The new root's name and key, signed by the old root: PEM.

    Raises RequestError when the old root cannot do that any more, or its key is kept elsewhere.
    """
    if old.signing_chain:
        raise RequestError(
            500,
            "the key of the old root is kept elsewhere and cannot sign the new one; to rotate all "
            "the same, set ForceWithoutCrossSigning",
        )
    fresh = x509.load_pem_x509_certificate(new.public.root_cert.encode())
    try:
        issuer = x509.load_pem_x509_certificate(old.root_cert.encode())
    except _UNREADABLE as error:
        raise _refused(f"error parsing the old root cert: {error}") from None
    key = load_key(old.private_key)
    start = (now.astimezone(UTC) - timedelta(seconds=ca.BACKDATE_S)).replace(microsecond=0)
    end = min(
        start + timedelta(seconds=ca.BACKDATE_S + CROSS_SIGNED_S),
        issuer.not_valid_after_utc,
        fresh.not_valid_after_utc,
    )
    if end <= now:
        raise RequestError(
            500,
            "the old root has expired and cannot sign the new one; to rotate all the same, set "
            "ForceWithoutCrossSigning",
        )
    builder = (
        x509.CertificateBuilder()
        .subject_name(fresh.subject)
        .issuer_name(issuer.subject)
        .public_key(fresh.public_key())
        .serial_number(serial)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension in fresh.extensions:
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    issuer_id = x509.AuthorityKeyIdentifier(ca.subject_key_id(issuer), None, None)
    signed = builder.add_extension(issuer_id, critical=False).sign(key, ca.signature_hash(key))
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def succeeded(
    roots: Sequence[CARoot], new: Root, cross_signed: str, *, now: datetime
) -> tuple[tuple[CARoot, ...], CAProviderState]:
    """The list of roots, and the signer, once the new root is the active one.

    A root that comes back takes its old place in the list.
    """
    at = rfc3339(now)
    old = tuple(
        replace(root, active=False, rotated_out_at=at) if root.active else root
        for root in roots
        if root.id != new.public.id
    )
    crosses = (cross_signed,) if cross_signed else ()
    below = new.public.intermediate_certs
    fresh = replace(new.public, active=True, intermediate_certs=(*below, *crosses))
    return (*old, fresh), replace(new.secret, intermediate_cert=cross_signed)


def renewed(
    roots: Sequence[CARoot], new: Root, cross_signed: str
) -> tuple[tuple[CARoot, ...], CAProviderState]:
    """The list of roots, and the signer, once another intermediate of the active root signs."""
    crosses = (cross_signed,) if cross_signed else ()
    fresh = replace(new.public, intermediate_certs=(*new.public.intermediate_certs, *crosses))
    listed = tuple(fresh if root.id == new.public.id else root for root in roots)
    return listed, replace(new.secret, intermediate_cert=cross_signed)


def pruned(
    roots: Sequence[CARoot], *, leaf_ttl_s: float, now: datetime
) -> tuple[tuple[CARoot, ...], datetime | None]:
    """The roots without those that no leaf stands on any more, and when the next one goes."""
    kept, due = [], []
    for root in roots:
        if not root.active and root.rotated_out_at:
            out = datetime.fromisoformat(root.rotated_out_at)
            end = out + timedelta(seconds=KEPT_LIVES * leaf_ttl_s)
            if end <= now:
                continue
            due.append(end)
        kept.append(root)
    return tuple(kept), min(due, default=None)


def _refused(text: str) -> RequestError:
    return RequestError(500, f"error configuring provider: {text}")
