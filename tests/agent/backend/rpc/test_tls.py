"""Files of certificates: what is wrong with them is said by key and file; a reload replaces all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.backend.rpc.tls import Own, RpcTls
from agent.certificates import TlsConfig
from agent.errors import ConfigError
from tests.certificates import Issued, TestCA

SERVER = Own(datacenter="dc1", domain="consul.", server=True, node_id="n1")
CLIENT = Own(datacenter="dc1", domain="consul.", server=False, node_id="n2")


def config(ca: TestCA, issued: Issued, **changes: object) -> TlsConfig:
    files: dict[str, object] = {
        "ca_file": str(ca.file),
        "cert_file": str(issued.cert),
        "key_file": str(issued.key),
    }
    return TlsConfig(**(files | changes))  # type: ignore[arg-type]


def test_good_files_make_contexts(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    tls = RpcTls(config(ca, ca.server("s", "n1")), SERVER)
    assert tls.server_name == "server.dc1.consul"
    assert tls.client_context() is not None
    elsewhere = tls.toward("west")
    assert elsewhere.server_name == "server.west.consul"
    assert elsewhere.client_context() is tls.client_context()
    assert tls.peer_refusal(ca.server("other", "n9").der, "n9") == ""
    assert tls.peer_refusal(ca.server("other", "n9").der, "n8") == "certificate of another node"
    assert tls.peer_refusal(ca.client("c").der, "n8") == "certificate of a client"
    assert tls.peer_refusal(None, None) == "no certificate"


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (lambda s, c: s.cert.unlink(), "cert_file: {cert}: No such file"),
        (lambda s, c: s.cert.write_text("rubbish"), "cert_file: {cert}: no certificate in PEM"),
        (lambda s, c: s.key.write_text("rubbish"), "key_file: {key}: no private key in PEM"),
        (lambda s, c: s.key.write_bytes(c.key.read_bytes()), "key_file: {key}: is not the key of"),
        (lambda s, c: (s.cert.parent / "ca.pem").write_text("x"), "ca_file: "),
    ],
    ids=["missing", "no certificate", "no key", "another key", "no authority"],
)
def test_bad_files_are_named(
    tmp_path: Path, break_it: Callable[[Issued, Issued], object], text: str
) -> None:
    ca = TestCA(tmp_path)
    server = ca.server("s")
    break_it(server, ca.client("c"))
    with pytest.raises(ConfigError) as error:
        RpcTls(config(ca, server), SERVER)
    assert text.format(cert=server.cert, key=server.key) in str(error.value)


def test_a_server_does_not_start_with_what_others_would_refuse(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    for issued, why in (
        (ca.client("c"), "certificate of a client"),
        (ca.server("x", datacenter="dc2"), "another datacenter"),
        (ca.server("y", "n7"), "certificate of another node"),
        (ca.issue("z", dns=("server.dc1.consul",), days=(-9, -1)), "has expired"),
    ):
        with pytest.raises(ConfigError, match=why):
            RpcTls(config(ca, issued), SERVER)
    with pytest.raises(ConfigError, match="without node id"):
        RpcTls(config(ca, ca.server("s"), require_node_id=True), SERVER)
    RpcTls(config(ca, ca.client("c")), CLIENT)


def test_a_failed_reload_keeps_what_was_in_force(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    tls = RpcTls(config(ca, ca.server("s")), SERVER)
    before = tls.server_context()
    with pytest.raises(ConfigError):
        tls.reload(config(ca, ca.client("c")))
    assert tls.server_context() is before
    tls.reload(config(ca, ca.server("s2")))
    assert tls.server_context() is not before


def test_a_folder_of_authorities_is_read(tmp_path: Path) -> None:
    ca, folder = TestCA(tmp_path), tmp_path / "cas"
    folder.mkdir()
    with pytest.raises(ConfigError, match="ca_path"):
        RpcTls(TlsConfig(ca_path=str(folder), verify_outgoing=True), CLIENT)
    (folder / "one.pem").write_bytes(ca.file.read_bytes())
    assert RpcTls(TlsConfig(ca_path=str(folder), verify_outgoing=True), CLIENT).client_context()


def test_the_end_of_certificates_is_a_figure_and_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = TestCA(tmp_path)  # which ends in nine days
    tls = RpcTls(config(ca, ca.issue("s", dns=("server.dc1.consul",), days=(-1, 0.5))), SERVER)
    stats = tls.stats()
    assert 0 < stats.certificate_expires_s <= 43_200 < stats.authority_expires_s < 9 * 86_400
    for _ in range(2):
        tls.warn_of_expiry()
    assert [r.getMessage().split(" subject=")[0] for r in caplog.records] == [
        "certificate for tls between agents ends soon",
        "authority for tls between agents ends soon",
    ]
    with pytest.raises(ConfigError):
        tls.reload(config(ca, ca.client("c")))
    tls.reload(config(ca, ca.issue("new", dns=("server.dc1.consul",), days=(-1, 40))))
    assert len(caplog.records) == 2  # the new one has time, the authority has been told of
    assert (tls.stats().reloads, tls.stats().reloads_failed) == (1, 1)
    assert tls.stats().certificate_expires_s > 39 * 86_400
