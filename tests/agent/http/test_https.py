"""What the HTTP API over TLS asks of its certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.http.https import HttpsTls
from tests.agent.http.test_faces import https
from tests.certificates import TestCA


def test_nobody_is_asked_for_a_certificate_unless_wanted(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    server = ca.server("s")
    assert HttpsTls(https(ca, server)).server_context().verify_mode is ssl.CERT_NONE
    demanding = HttpsTls(https(ca, server, verify_incoming=True, min_version="TLSv1_3"))
    assert demanding.server_context().verify_mode is ssl.CERT_REQUIRED
    assert demanding.server_context().minimum_version is ssl.TLSVersion.TLSv1_3


def test_chosen_ciphers_are_the_only_ones_of_1_2(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    tls = HttpsTls(https(ca, ca.server("s"), ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"))
    names = {each["name"] for each in tls.server_context().get_ciphers()}
    assert {n for n in names if not n.startswith("TLS_")} == {"ECDHE-ECDSA-AES128-GCM-SHA256"}


def test_how_long_the_certificate_lasts_and_reloads_are_told(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    tls = HttpsTls(https(ca, ca.server("s")))
    assert 7 * 86400 < tls.stats().certificate_expires_s < 9 * 86400
    tls.prepare(https(ca, ca.server("t")))()
    with pytest.raises(ConfigError, match=r"tls.https.cert_file: /no: No such file"):
        tls.prepare(https(ca, ca.server("t"), cert_file="/no"))
    assert (tls.stats().reloads, tls.stats().reloads_failed) == (1, 1)


def test_an_expired_certificate_is_refused_before_it_is_served(tmp_path: Path) -> None:
    ca = TestCA(tmp_path)
    with pytest.raises(ConfigError, match="the certificate has expired"):
        HttpsTls(https(ca, ca.issue("old", dns=("localhost",), days=(-9.0, -1.0))))
