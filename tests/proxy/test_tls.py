"""How contexts are made, and the words for what goes wrong."""

from __future__ import annotations

import os
import ssl
import time

import pytest

from proxy import tls
from proxy.errors import TlsMaterialError
from proxy.handshakes import failure
from proxy.source import LeafPair
from tests.proxy.mesh import Authority

AUTHORITY = Authority()
ROOTS = (AUTHORITY.root.public.root_cert,)


def test_contexts_want_a_certificate_and_refuse_old_versions() -> None:
    contexts = tls.build(AUTHORITY.leaf("web"), ROOTS)
    for context in (contexts.server, contexts.client):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert not context.check_hostname
        assert context.options & ssl.OP_NO_COMPRESSION
        old = [each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"]
        assert old
        assert all(name.startswith("ECDHE-") for name in old)
        assert all("GCM" in name or "CHACHA20" in name for name in old)
    assert 3000 < contexts.not_after_at - time.time() <= 3600


def test_only_the_mesh_roots_are_trusted() -> None:
    contexts = tls.build(AUTHORITY.leaf("web"), ROOTS)
    for context in (contexts.server, contexts.client):
        assert len(context.get_ca_certs()) == 1


def test_the_key_leaves_no_file_and_no_open_descriptor() -> None:
    before = set(os.listdir("/proc/self/fd"))
    tls.build(AUTHORITY.leaf("web"), ROOTS)
    assert set(os.listdir("/proc/self/fd")) == before


def test_without_memory_files_a_private_folder_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert tls.build(AUTHORITY.leaf("web"), ROOTS).not_after_at > 0


def test_material_that_does_not_fit_is_refused() -> None:
    leaf, other = AUTHORITY.leaf("web"), AUTHORITY.leaf("web")
    for bad, roots in (
        (leaf, ()),
        (leaf, ("junk",)),
        (LeafPair(cert_pem=leaf.cert_pem, private_key_pem=other.private_key_pem), ROOTS),
        (LeafPair(cert_pem="junk", private_key_pem=leaf.private_key_pem), ROOTS),
        (LeafPair(cert_pem=leaf.cert_pem, private_key_pem=""), ROOTS),
    ):
        with pytest.raises(TlsMaterialError) as caught:
            tls.build(bad, roots)
        assert "PRIVATE" not in str(caught.value)


def test_a_key_is_never_printed() -> None:
    assert "PRIVATE" not in repr(AUTHORITY.leaf("web"))


def test_whatever_else_fails_has_a_word() -> None:
    assert failure(None) == "peer_gone"
    assert failure(ssl.SSLError(1, "odd")) == "handshake_failed"
