"""What the authority of TLS between agents makes, and what it refuses to make."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from agent.tls_authority import (
    DAYS_MAX,
    AuthorityRequest,
    CertificateRequest,
    IssueError,
    Signer,
    certificate_pem,
    check_name,
    dns_names,
    generate_key,
    issue,
    key_pem,
    make_authority,
    read_address,
    read_signer,
)
from raftstore.raft import identity

NOW = datetime.now(UTC)
KEY = generate_key()
REQUEST = CertificateRequest(role="server", datacenter="dc1", domain="consul", days=365)


def authority(**changes: object) -> Signer:
    request = AuthorityRequest(domain="consul", days=1825)
    made = make_authority(replace(request, **changes), key=KEY, serial=7, now=NOW)  # type: ignore[arg-type]
    return Signer(made, KEY)


def made(request: CertificateRequest, signer: Signer | None = None) -> x509.Certificate:
    return issue(request, signer or authority(), key=generate_key(), serial=9, now=NOW)


def names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_the_authority_may_sign_and_is_named() -> None:
    certificate = authority().certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value.ca
    assert certificate.subject.rfc4514_string() == "CN=Consul Agent CA 7"
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(1825)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    named = authority(common_name="Ours", cluster_id="c1", domain="Example.").certificate
    assert named.subject.rfc4514_string() == "CN=Ours"
    assert names(named).get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://c1.Example"
    ]


@pytest.mark.parametrize(
    ("request_", "dns", "uses"),
    [
        (REQUEST, ["server.dc1.consul", "localhost"], 2),
        (
            replace(REQUEST, node="web-1", dns_names=("a.example", "localhost")),
            ["server.dc1.consul", "web-1.server.dc1.consul", "localhost", "a.example"],
            2,
        ),
        (replace(REQUEST, role="client", datacenter="eu"), ["client.eu.consul", "localhost"], 2),
        (replace(REQUEST, role="cli", domain="x.y."), ["cli.dc1.x.y"], 1),
    ],
)
def test_the_names_of_each_role(request_: CertificateRequest, dns: list[str], uses: int) -> None:
    certificate = made(request_)
    assert names(certificate).get_values_for_type(x509.DNSName) == dns
    addresses = names(certificate).get_values_for_type(x509.IPAddress)
    assert [str(each) for each in addresses] == (["127.0.0.1"] if "localhost" in dns else [])
    used = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert len(list(used)) == uses and ExtendedKeyUsageOID.CLIENT_AUTH in used
    assert certificate.subject.rfc4514_string() == f"CN={dns[0]}"


def test_a_servers_certificate_is_taken_by_servers_and_bound_to_its_node() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    request = replace(REQUEST, node_id="n-1", addresses=(read_address(" ::1 "),))
    found = identity.read(made(request).public_bytes(Encoding.DER), domain="consul.")
    assert found == identity.PeerIdentity("dc1", identity.Role.SERVER, "n-1")
    client = made(replace(REQUEST, role="client")).public_bytes(Encoding.DER)
    assert identity.read(client, domain="consul").role is identity.Role.CLIENT


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"days": 0}, "-days must be between"),
        ({"days": DAYS_MAX + 1}, "-days must be between"),
        ({"domain": "a/b"}, 'domain "a/b" is not a valid DNS name'),
        ({"datacenter": "../x"}, 'datacenter "../x" is not'),
        ({"node": "a b"}, "is not a valid DNS name"),
        ({"role": "client", "node": "a"}, "-node requires -server"),
        ({"role": "cli", "node_id": "a"}, "-node-id requires -server"),
        ({"node_id": "a/b"}, 'node id "a/b" is not'),
        ({"dns_names": ("",)}, 'DNS name "" is not'),
    ],
)
def test_what_cannot_stand_in_a_certificate_is_refused(
    changes: dict[str, object], text: str
) -> None:
    with pytest.raises(IssueError, match=text):
        made(replace(REQUEST, **changes))  # type: ignore[arg-type]


def test_names_that_the_authority_may_not_vouch_for_are_refused() -> None:
    signer = authority(permitted=("consul", "localhost", "example.com"))
    found = signer.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert found.critical
    made(replace(REQUEST, dns_names=("example.com", "a.b.example.com")), signer)
    for name in ("badexample.com", "com", "consul.evil"):
        with pytest.raises(IssueError, match="may not vouch"):
            made(replace(REQUEST, dns_names=(name,)), signer)
    with pytest.raises(IssueError, match="may not vouch"):
        made(replace(REQUEST, domain="other"), signer)


def test_an_authority_is_read_from_its_files_or_refused() -> None:
    signer = authority()
    pem = certificate_pem(signer.certificate)
    assert read_signer(pem, key_pem(KEY)).certificate == signer.certificate
    leaf_key = generate_key()
    leaf = issue(REQUEST, signer, key=leaf_key, serial=3, now=NOW)
    for files, text in (
        ((b"no pem", b"no pem"), "parsing the CA's certificate"),
        ((pem, b"no pem"), "parsing the CA's key"),
        ((pem, key_pem(generate_key())), "is not the key of"),
        ((certificate_pem(leaf), key_pem(leaf_key)), "not one of an authority"),
    ):
        with pytest.raises(IssueError, match=text):
            read_signer(*files)
    expired = make_authority(
        AuthorityRequest(domain="consul", days=1), key=KEY, serial=1, now=NOW - timedelta(2)
    )
    with pytest.raises(IssueError, match="has expired"):
        made(REQUEST, Signer(expired, KEY))


def test_an_authority_of_another_kind_of_key_signs() -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rsa")])
    own = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    from cryptography.hazmat.primitives.hashes import SHA256

    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signer = read_signer(certificate_pem(own.sign(key, SHA256())), pem)
    made(REQUEST, signer).verify_directly_issued_by(signer.certificate)


def test_openssl_takes_them_on_both_sides(tmp_path: Path) -> None:
    signer = authority(permitted=("consul", "localhost"), cluster_id="c1")
    contexts = []
    for role, protocol in (
        ("server", ssl.PROTOCOL_TLS_SERVER),
        ("client", ssl.PROTOCOL_TLS_CLIENT),
    ):
        key = generate_key()
        made = issue(replace(REQUEST, role=role), signer, key=key, serial=5, now=NOW)
        file = tmp_path / f"{role}.pem"
        file.write_bytes(certificate_pem(made) + key_pem(key))
        context = ssl.SSLContext(protocol)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=certificate_pem(signer.certificate).decode())
        context.load_cert_chain(file)
        contexts.append(context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = contexts[1].wrap_bio(to_client, to_server, server_hostname="server.dc1.consul")
    server = contexts[0].wrap_bio(to_server, to_client, server_side=True)
    done = set()
    for _ in range(8):
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    assert len(done) == 2


@given(st.text(max_size=80))
def test_a_name_is_taken_only_when_dns_could_carry_it(text: str) -> None:
    try:
        bare = check_name(text, "name")
    except IssueError:
        return
    assert "/" not in bare and ".." not in bare and bare == bare.strip()
    assert all(0 < len(label) <= 63 for label in bare.split("."))
    assert dns_names(replace(REQUEST, dns_names=(text,)))[-1] in (bare, "localhost")


def test_a_key_is_written_in_the_form_of_the_reference() -> None:
    text = key_pem(KEY)
    assert text.startswith(b"-----BEGIN EC PRIVATE KEY-----\n")
    assert load_pem_private_key(text, None).public_key() == KEY.public_key()  # type: ignore[union-attr]
