"""Certificates of the built-in authority: profiles, signing rules, and what OpenSSL thinks."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.connect import ca, serials
from agent.errors import RequestError
from proxy import certificate
from proxy.spiffe import Kind, SpiffeId

CLUSTER = "11111111-2222-3333-4444-555555555555"
TD = f"{CLUSTER}.consul"
NOW = datetime(2030, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
ROOT_KEY = ca.generate_key()
ROOT = ca.make_root(key=ROOT_KEY, cluster_id=CLUSTER, serial=7, name_part="abc12345", now=NOW)
SIGNER = ca.signer_of(ROOT.secret)
WEB = SpiffeId.service(TD, "dc1", "web")


def sign(csr: str, *, serial: int = 8, ttl_s: float = ca.LEAF_TTL_S, now: datetime = NOW):
    request = ca.read_csr(csr, trust_domain=TD, datacenter="dc1")
    return ca.sign_leaf(request, signer=SIGNER, serial=serial, ttl_s=ttl_s, now=now)


def load(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def extension(cert: x509.Certificate, kind: type) -> tuple[bool, object]:
    found = cert.extensions.get_extension_for_class(kind)
    return found.critical, found.value


def test_the_root_has_its_profile() -> None:
    cert = load(ROOT.public.root_cert)
    assert cert.version is x509.Version.v3
    assert cert.subject == cert.issuer
    [name] = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "pri-abc12345.consul.ca.11111111.consul"
    assert cert.serial_number == ROOT.public.serial_number == 7
    assert cert.not_valid_before_utc == NOW.replace(microsecond=0)
    assert cert.not_valid_after_utc - cert.not_valid_before_utc == timedelta(hours=87600)
    assert extension(cert, x509.BasicConstraints) == (True, x509.BasicConstraints(True, None))
    critical, usage = extension(cert, x509.KeyUsage)
    assert critical
    assert isinstance(usage, x509.KeyUsage)
    assert usage.digital_signature and usage.key_cert_sign and usage.crl_sign
    assert not (usage.key_encipherment or usage.data_encipherment or usage.key_agreement)
    with pytest.raises(x509.ExtensionNotFound):
        extension(cert, x509.ExtendedKeyUsage)
    _, names = extension(cert, x509.SubjectAlternativeName)
    assert list(names) == [x509.UniformResourceIdentifier(f"spiffe://{TD}")]
    _, ski = extension(cert, x509.SubjectKeyIdentifier)
    _, aki = extension(cert, x509.AuthorityKeyIdentifier)
    spki = ROOT_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert ski.digest == aki.key_identifier == hashlib.sha256(spki).digest()
    assert ROOT.public.signing_key_id == ski.digest.hex(":")
    assert ROOT.public.id == cert.fingerprint(hashes.SHA1()).hex(":")
    assert ROOT.public.not_before == "2030-01-02T03:04:05Z"
    assert isinstance(cert.signature_hash_algorithm, hashes.SHA256)


def test_a_leaf_has_its_profile() -> None:
    key = ca.generate_key()
    signed = sign(ca.make_csr(key, WEB), serial=serials.compose_serial(5, 9))
    cert = load(signed.cert_pem)
    assert cert.public_key() == key.public_key()
    assert cert.issuer == load(ROOT.public.root_cert).subject
    [name] = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "web.svc.default.11111111.consul"
    assert cert.not_valid_before_utc == (NOW - timedelta(minutes=1)).replace(microsecond=0)
    assert cert.not_valid_after_utc - cert.not_valid_before_utc == timedelta(hours=72, minutes=1)
    assert extension(cert, x509.BasicConstraints) == (True, x509.BasicConstraints(False, None))
    critical, usage = extension(cert, x509.KeyUsage)
    assert critical
    assert isinstance(usage, x509.KeyUsage)
    assert usage.digital_signature and usage.key_encipherment
    assert usage.data_encipherment and usage.key_agreement
    assert not (usage.key_cert_sign or usage.crl_sign)
    _, eku = extension(cert, x509.ExtendedKeyUsage)
    assert set(eku) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    _, names = extension(cert, x509.SubjectAlternativeName)
    assert list(names) == [x509.UniformResourceIdentifier(WEB.uri)]
    _, aki = extension(cert, x509.AuthorityKeyIdentifier)
    assert aki.key_identifier.hex(":") == ROOT.public.signing_key_id
    assert signed.serial_number == "05:00:00:00:00:00:00:00:09"
    assert signed.uri == WEB.uri
    der = cert.public_bytes(serialization.Encoding.DER)
    assert certificate.read(der, client=True).identity == WEB
    cert.verify_directly_issued_by(load(ROOT.public.root_cert))


def test_a_leaf_never_outlives_its_signer() -> None:
    late = NOW + timedelta(hours=87600) - timedelta(hours=1)
    signed = sign(ca.make_csr(ca.generate_key(), WEB), now=late)
    assert signed.valid_before == load(ROOT.public.root_cert).not_valid_after_utc
    with pytest.raises(RequestError, match="expired"):
        sign(ca.make_csr(ca.generate_key(), WEB), now=late + timedelta(hours=2))


def request(key, *names: x509.GeneralName, extra: x509.ExtensionType | None = None) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anything at all")])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if extra is not None:
        builder = builder.add_extension(extra, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


KEY = ca.generate_key()


@pytest.mark.parametrize(
    ("csr", "text"),
    [
        ("", "invalid CSR"),
        ("x" * 20_000, "CSR is larger than"),
        (request(KEY), "exactly one URI SAN"),
        (request(KEY, uri(WEB.uri), uri(WEB.uri)), "exactly one URI SAN"),
        (request(KEY, uri("https://web")), "scheme spiffe"),
        (
            request(KEY, uri("spiffe://other.consul/ns/default/dc/dc1/svc/web")),
            "other.consul, we are " + TD,
        ),
        (request(KEY, uri(f"spiffe://{TD}/ns/default/dc/dc9/svc/web")), "different datacenter"),
        (request(KEY, uri(f"spiffe://{TD}")), "service or agent"),
        (request(ec.generate_private_key(ec.SECP224R1()), uri(WEB.uri)), "EC of 256"),
        (request(rsa.generate_private_key(65537, 1024), uri(WEB.uri)), "RSA of 2048"),
        (request(ed25519.Ed25519PrivateKey.generate(), uri(WEB.uri)), "EC of 256"),
        (
            request(KEY, uri(WEB.uri), extra=x509.BasicConstraints(ca=True, path_length=None)),
            "CA certificate",
        ),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_with_400(csr: str, text: str) -> None:
    with pytest.raises(RequestError, match=text) as caught:
        sign(csr)
    assert caught.value.status == 400


def test_a_request_with_a_false_signature_is_refused() -> None:
    der = bytearray(
        x509.load_pem_x509_csr(ca.make_csr(KEY, WEB).encode()).public_bytes(
            serialization.Encoding.DER
        )
    )
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(RequestError) as caught:
        sign(forged)
    assert (caught.value.status, caught.value.text) == (400, "invalid CSR signature")


def test_what_else_a_request_asks_for_is_dropped() -> None:
    csr = request(
        KEY,
        uri(WEB.uri),
        x509.DNSName("evil.example"),
        extra=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]),
    )
    cert = load(sign(csr).cert_pem)
    _, names = extension(cert, x509.SubjectAlternativeName)
    assert list(names) == [uri(WEB.uri)]
    _, eku = extension(cert, x509.ExtendedKeyUsage)
    assert ExtendedKeyUsageOID.CODE_SIGNING not in eku


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=100))
def test_any_service_name_gets_a_leaf_that_names_it(name: str) -> None:
    identity = SpiffeId.service(TD, "dc1", name)
    cert = load(sign(ca.make_csr(KEY, identity)).cert_pem)
    der = cert.public_bytes(serialization.Encoding.DER)
    assert certificate.read(der, client=False).identity == identity
    [common] = cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert len(common.value) <= 64


def test_an_agent_has_its_own_common_name() -> None:
    identity = SpiffeId(kind=Kind.AGENT, trust_domain=TD, datacenter="dc1", name="Node-1")
    assert ca.common_name(identity) == "node1.agnt.11111111.consul"


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program here")
def test_openssl_verifies_root_and_leaf(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    root = ca.make_root(
        key=ca.generate_key(), cluster_id=CLUSTER, serial=7, name_part="zzzzzzzz", now=now
    )
    other = ca.make_root(
        key=ca.generate_key(), cluster_id=CLUSTER, serial=8, name_part="yyyyyyyy", now=now
    )
    leaf = ca.sign_leaf(
        ca.read_csr(ca.make_csr(KEY, WEB), trust_domain=TD, datacenter="dc1"),
        signer=ca.signer_of(root.secret),
        serial=serials.compose_serial(random.getrandbits(64), 9),
        ttl_s=3600,
        now=now,
    )
    for name, pem in (
        ("root", root.public.root_cert),
        ("other", other.public.root_cert),
        ("leaf", leaf.cert_pem),
    ):
        (tmp_path / name).write_text(pem)

    def verify(anchor: str, what: str, *more: str) -> bool:
        command = ["openssl", "verify", "-x509_strict", *more, "-CAfile"]
        done = subprocess.run(
            [*command, str(tmp_path / anchor), str(tmp_path / what)],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    assert verify("root", "root")
    assert verify("root", "leaf", "-purpose", "sslclient")
    assert verify("root", "leaf", "-purpose", "sslserver")
    assert not verify("other", "leaf")
