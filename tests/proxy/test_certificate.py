"""What is read in a peer's certificate, and which certificates are not taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import example, given
from hypothesis import strategies as st

from proxy import certificate
from proxy.errors import IdentityError
from proxy.spiffe import SpiffeId

WEB = SpiffeId.service("x.consul", "dc1", "web")
BOTH = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
KEY = ec.generate_private_key(ec.SECP256R1())


def made(
    *uris: str, usages: tuple[x509.ObjectIdentifier, ...] = BOTH, with_names: bool = True
) -> bytes:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(77)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
    )
    if with_names:
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names.append(x509.DNSName("web.example"))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_identity_serial_and_end_are_read() -> None:
    for client in (True, False):
        peer = certificate.read(made(WEB.uri), client=client)
        assert (peer.identity, peer.serial_number) == (WEB, 77)
        assert peer.not_after_at == datetime(2030, 1, 1, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("der", "text"),
    [
        (None, "no certificate"),
        (b"", "no certificate"),
        (b"junk", "not a mesh certificate"),
        (made(WEB.uri, usages=()), "not a mesh certificate"),
        (made(with_names=False), "not a mesh certificate"),
        (made(), "exactly one URI SAN, has 0"),
        (made(WEB.uri, WEB.uri), "exactly one URI SAN, has 2"),
        (made("https://web"), "scheme spiffe"),
    ],
)
def test_a_certificate_that_names_nobody_is_refused(der: bytes | None, text: str) -> None:
    with pytest.raises(IdentityError, match=text):
        certificate.read(der, client=True)


def test_a_certificate_is_good_only_for_the_side_its_usage_names() -> None:
    server_only = made(WEB.uri, usages=(ExtendedKeyUsageOID.SERVER_AUTH,))
    assert certificate.read(server_only, client=False).identity == WEB
    with pytest.raises(IdentityError, match="this side"):
        certificate.read(server_only, client=True)
    client_only = made(WEB.uri, usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    with pytest.raises(IdentityError, match="this side"):
        certificate.read(client_only, client=False)


@given(st.integers(0, len(made(WEB.uri)) - 1), st.integers(0, 255))
@example(at=11, byte=1)  # a version that does not exist
@example(at=14, byte=0)  # a serial number of zero
def test_a_damaged_certificate_is_read_or_refused_but_never_breaks(at: int, byte: int) -> None:
    damaged = bytearray(made(WEB.uri))
    damaged[at % len(damaged)] = byte
    try:
        certificate.read(bytes(damaged), client=True)
    except IdentityError:
        return
