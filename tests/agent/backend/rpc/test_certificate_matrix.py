"""Certificates that nobody should take, shown in real handshakes: to a server by who comes in, and
by a server to who dials it. Each is refused for what is wrong with it, the good one is taken.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.backend.rpc.tls import Own, RpcTls
from agent.certificates import TlsConfig
from agent.errors import ConfigError
from agent.http.https import HttpsTls
from raftstore.raft import identity
from tests.certificates import Issued, TestCA

OWN = Own(datacenter="dc1", domain="consul.", server=True, node_id="n1")
NAMES = ("server.dc1.consul", "localhost")


def strange(folder: Path) -> TestCA:
    return TestCA(folder, "stranger")


#: What is wrong -> how such a certificate is made.
UNTRUSTED: dict[str, Callable[[TestCA], Issued]] = {
    "expired": lambda ca: ca.issue("x", dns=NAMES, days=(-9.0, -1.0)),
    "not yet valid": lambda ca: ca.issue("x", dns=NAMES, days=(1.0, 8.0)),
    "of another authority": lambda ca: strange(ca.folder).issue("x", dns=NAMES),
    "self-signed": lambda ca: self_signed(ca.folder),
    "of an unknown intermediate": lambda ca: under_intermediate(ca),
    "weak key": lambda ca: ca.issue(
        "x", dns=NAMES, key=rsa.generate_private_key(public_exponent=65537, key_size=1024)
    ),
    "weak curve": lambda ca: ca.issue("x", dns=NAMES, key=ec.generate_private_key(ec.SECP192R1())),
}
WRONG_USE = {
    "client": lambda ca: ca.issue("x", dns=NAMES, uses=(ExtendedKeyUsageOID.SERVER_AUTH,)),
    "server": lambda ca: ca.issue("x", dns=NAMES, uses=(ExtendedKeyUsageOID.CLIENT_AUTH,)),
}


def self_signed(folder: Path) -> Issued:
    own = TestCA(folder, "own")
    issued = own.issue("x", dns=NAMES)
    issued.cert.write_bytes(own.file.read_bytes())
    issued.key.write_bytes(own.key_pem())
    return issued


def under_intermediate(ca: TestCA) -> Issued:
    """Signed by an authority below ours whose certificate is not shown."""
    return ca.intermediate("between").issue("x", dns=NAMES)


def tls(ca: TestCA, issued: Issued, **changes: object) -> TlsConfig:
    files = {"ca_file": str(ca.file), "cert_file": str(issued.cert), "key_file": str(issued.key)}
    return TlsConfig(**(files | changes))  # type: ignore[arg-type]


def trusting(ca: TestCA, shown: Issued | None, protocol: int) -> ssl.SSLContext:
    """A peer that shows whatever it is given, and would even use weak keys itself."""
    context = ssl.SSLContext(protocol)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_verify_locations(ca.file)
    if shown is not None:
        context.load_cert_chain(shown.cert, shown.key)
    return context


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    """A handshake in memory; the words of whoever refuses, "" if both are content."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(8):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return str(error)
    return ""


def servers(ca: TestCA) -> dict[str, ssl.SSLContext]:
    """The contexts that ask whoever comes in: the server port's and the HTTP API's."""
    config = tls(ca, ca.server("s", "n1"), verify_incoming=True)
    return {
        "server port": RpcTls(config, OWN).server_context(),
        "https": HttpsTls(config).server_context(),
    }


@pytest.mark.parametrize("face", ["server port", "https"])
@pytest.mark.parametrize("wrong", [*UNTRUSTED, "wrong use", "none"])
def test_a_server_refuses_who_shows_it(wrong: str, face: str, tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    make = WRONG_USE["client"] if wrong == "wrong use" else UNTRUSTED.get(wrong)
    shown = None if make is None else make(ca)
    client = trusting(ca, shown, ssl.PROTOCOL_TLS_CLIENT)
    assert shake(servers(ca)[face], client, "localhost"), "it was let in"


@pytest.mark.parametrize("face", ["server port", "https"])
def test_a_server_takes_a_good_one(face: str, tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    client = trusting(ca, ca.client("good"), ssl.PROTOCOL_TLS_CLIENT)
    assert shake(servers(ca)[face], client, "localhost") == ""


@pytest.mark.parametrize("wrong", [*UNTRUSTED, "wrong use", "wrong name"])
def test_who_dials_a_server_refuses_it(wrong: str, tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    make = {
        **UNTRUSTED,
        "wrong use": WRONG_USE["server"],
        "wrong name": lambda ca: ca.issue("x", dns=("client.dc1.consul", "server.dc2.consul")),
    }[wrong]
    server = trusting(ca, make(ca), ssl.PROTOCOL_TLS_SERVER)
    dialling = RpcTls(tls(ca, ca.client("c"), verify_server_hostname=True), OWN_CLIENT)
    context = dialling.client_context()
    assert context is not None
    assert shake(server, context, dialling.server_name), "it was taken for a server"
    # The peer of Raft is held to the same.
    assert shake(server, dialling.peer_context(), dialling.server_name)


OWN_CLIENT = Own(datacenter="dc1", domain="consul.", server=False, node_id="n2")


def test_who_dials_a_server_takes_a_good_one(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    server = trusting(ca, ca.server("good"), ssl.PROTOCOL_TLS_SERVER)
    dialling = RpcTls(tls(ca, ca.client("c"), verify_server_hostname=True), OWN_CLIENT)
    context = dialling.client_context()
    assert context is not None
    assert shake(server, context, dialling.server_name) == ""


PLAYS_NO_SERVER: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "a client's": (("client.dc1.consul",), ()),
    "a user's": (("cli.dc1.consul",), ()),
    "of another datacenter": (("server.dc2.consul",), ()),
    "of another domain": (("server.dc1.other",), ()),
    "of another trust domain": (NAMES, ("spiffe://other/agent/server/dc/dc1/id/n3",)),
    "two URIs": (
        NAMES,
        (
            "spiffe://consul/agent/server/dc/dc1/id/n3",
            "spiffe://consul/agent/server/dc/dc1/id/n4",
        ),
    ),
    "of another node": (NAMES, ("spiffe://consul/agent/server/dc/dc1/id/n9",)),
    "a service's": (NAMES, ("spiffe://consul/ns/default/dc/dc1/svc/web",)),
    "without names": ((), ()),
}


@pytest.mark.parametrize("what", PLAYS_NO_SERVER)
def test_a_good_signature_alone_makes_no_server(what: str, tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    dns, uris = PLAYS_NO_SERVER[what]
    port = RpcTls(tls(ca, ca.server("s", "n1"), require_node_id=True), OWN)
    assert port.peer_refusal(ca.issue("x", dns=dns, uris=uris).der, "n3")
    good = ca.server("good", "n3")
    assert port.peer_refusal(good.der, "n3") == ""


@pytest.mark.parametrize("wrong", ["expired", "weak key"])
def test_we_do_not_start_with_one_either(wrong: str, tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    bad = UNTRUSTED[wrong](ca)
    with pytest.raises(ConfigError, match="cert_file: "):
        RpcTls(tls(ca, bad), OWN_CLIENT)
    with pytest.raises(ConfigError, match="cert_file: "):
        HttpsTls(tls(ca, bad))


def test_the_name_of_a_server_follows_datacenter_and_domain() -> None:
    assert identity.server_name("dc7", "example.org.") == "server.dc7.example.org"
