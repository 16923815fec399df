"""A root whose key is kept elsewhere: the request for an intermediate, and what was signed of it.

The servers have the key of the intermediate only (mesh contract A.8, external root). Decides what
such a chain must be like before anything is signed with it. Pure: key and time come in.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from agent.connect import ca
from agent.connect.ca import PrivateKey, Root
from agent.connect.roots import check_trust_domain
from agent.connect.settings import PEM_MAX
from agent.errors import RequestError
from proxy import spiffe
from proxy.errors import IdentityError
from proxy.spiffe import Kind, SpiffeId

#: Signing certificate, three above it, and the root.
CHAIN_MAX = 5
#: A clock may be this far behind the signer's.
SKEW_S = 300.0
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
_WEAK = (hashes.MD5, hashes.SHA1)


def request(key: PrivateKey, *, cluster_id: str) -> str:
    """A signing request for an intermediate of our trust domain, PEM. Its name follows the key."""
    identity = SpiffeId(kind=Kind.CA, trust_domain=f"{cluster_id}.consul")
    public = key.public_key()
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    signed = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(ca.authority_name("sec", _name_part(public), cluster_id))
        .add_extension(ca.san(identity), critical=False)
        .add_extension(constraints, critical=True)
        .add_extension(ca.usage(ca=True), critical=True)
        .sign(key, ca.signature_hash(key))
    )
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def installed(
    bundle_pem: str, key: PrivateKey, *, cluster_id: str, leaf_ttl_s: float, now: datetime
) -> Root:
    """The root that stands behind a signed request, and the signer below it.

    ``bundle_pem`` holds the certificate of ``key``, those above it and the root, in any order.
    Raises RequestError 500 that says what is wrong with it.
    """
    path = _path(_read(bundle_pem), key)
    for depth, certificate in enumerate(path):
        _check_authority(certificate, depth)
        _check_life(certificate, now, leaf_ttl_s)
    _check_identity(path[0], f"{cluster_id}.consul")
    check_trust_domain(path[-1], f"{cluster_id}.consul")
    return ca.external_root(path, key, cluster_id=cluster_id)


def half_life_at(certificate: x509.Certificate) -> datetime:
    """When an intermediate should be replaced (mesh contract A.8)."""
    start = certificate.not_valid_before_utc
    return start + (certificate.not_valid_after_utc - start) / 2


def _read(bundle_pem: str) -> list[x509.Certificate]:
    if len(bundle_pem) > PEM_MAX:
        raise _refused(f"more than {PEM_MAX} characters of certificates")
    try:
        found = x509.load_pem_x509_certificates(bundle_pem.encode())
        for each in found:
            _ = each.extensions, each.public_key()
    except (*_UNREADABLE, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise _refused(f"error parsing certificates: {error}") from None
    if not 2 <= len(found) <= CHAIN_MAX:
        raise _refused(
            f"the file holds the intermediate and those above it up to the root: 2 to {CHAIN_MAX} "
            f"certificates, not {len(found)}"
        )
    return found


def _path(found: list[x509.Certificate], key: PrivateKey) -> list[x509.Certificate]:
    """From the certificate of our key to the root, each signed by the next; all are used."""
    ours = [each for each in found if each.public_key() == key.public_key()]
    if len(ours) != 1:
        raise _refused("no certificate of the open signing request (connect ca csr shows it)")
    path, left = ours, [each for each in found if each is not ours[0]]
    while left:
        above = next((each for each in left if _signed(path[-1], each)), None)
        if above is None:
            name = path[-1].issuer.rfc4514_string()[:256]
            raise _refused(f'the certificate of "{name}" that signed another is missing')
        path.append(above)
        left.remove(above)
    if not _signed(path[-1], path[-1]):
        raise _refused("the last certificate is no root: it is not signed by its own key")
    return path


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _check_authority(certificate: x509.Certificate, depth: int) -> None:
    """``depth`` authorities stand below this one."""
    name = certificate.subject.rfc4514_string()[:256]
    found = {type(each.value): each.value for each in certificate.extensions}
    constraints = found.get(x509.BasicConstraints)
    if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
        raise _refused(f'"{name}" is no CA certificate')
    if constraints.path_length is not None and constraints.path_length < depth:
        raise _refused(f'"{name}" allows {constraints.path_length} authorities below it')
    usage = found.get(x509.KeyUsage)
    if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
        raise _refused(f'the key usage of "{name}" does not allow to sign certificates')
    if isinstance(certificate.signature_hash_algorithm, _WEAK):
        raise _refused(f'"{name}" is signed with a weak hash')
    public = certificate.public_key()
    strong = (isinstance(public, rsa.RSAPublicKey) and public.key_size >= ca.RSA_BITS_MIN) or (
        isinstance(public, ec.EllipticCurvePublicKey)
    )
    if not strong:
        raise _refused(f'the key of "{name}" must be EC, or RSA of {ca.RSA_BITS_MIN} bits or more')


def _check_life(certificate: x509.Certificate, now: datetime, leaf_ttl_s: float) -> None:
    name = certificate.subject.rfc4514_string()[:256]
    if certificate.not_valid_before_utc > now + timedelta(seconds=SKEW_S):
        raise _refused(f'"{name}" is not valid yet')
    if certificate.not_valid_after_utc <= now + timedelta(seconds=leaf_ttl_s):
        raise _refused(f'"{name}" ends before its first leaf would')


def _check_identity(certificate: x509.Certificate, trust_domain: str) -> None:
    """The intermediate names our trust domain and nothing else; the root need not."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise _refused(f"the intermediate lacks the URI spiffe://{trust_domain}") from None
    if any(not isinstance(each, x509.UniformResourceIdentifier) for each in names):
        raise _refused("the intermediate has other alternative names than its URI")
    try:
        identity = spiffe.of_uris(names.get_values_for_type(x509.UniformResourceIdentifier))
    except IdentityError as error:
        raise _refused(f"the intermediate's URI: {error}") from None
    if identity != SpiffeId(kind=Kind.CA, trust_domain=trust_domain):
        raise _refused(f"the intermediate is of {identity.uri}, we are spiffe://{trust_domain}")


def _name_part(public: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    """Eight characters that only this key has: subjects of two authorities must differ."""
    number = int.from_bytes(hashlib.sha256(ca.key_identifier(public)).digest()[:8], "big")
    digits = []
    for _ in range(8):
        number, digit = divmod(number, 36)
        digits.append(_BASE36[digit])
    return "".join(digits)


def _refused(text: str) -> RequestError:
    return RequestError(500, f"error setting the intermediate: {text}")
