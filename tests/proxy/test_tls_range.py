"""Which TLS a listener or a dial may speak, by the words of entries."""

from __future__ import annotations

import ssl

import pytest

from proxy import tls
from proxy.errors import SourceError
from proxy.tls_range import SUITES, USUAL, TlsRange, read
from tests.proxy.mesh import Authority

AUTHORITY = Authority()
ROOTS = (AUTHORITY.root.public.root_cert,)


def test_entries_are_read_or_refused_whole() -> None:
    assert read(None) == read({}) == read({"TLSMinVersion": "TLS_AUTO"}) == USUAL
    suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    given = {"TLSMinVersion": "TLSv1_2", "TLSMaxVersion": "TLSv1_3", "CipherSuites": [suite]}
    assert read(given) == TlsRange("TLSv1_2", "TLSv1_3", ("ECDHE-ECDSA-AES128-GCM-SHA256",))
    for bad in ({"TLSMinVersion": "TLSv1_1"}, {"CipherSuites": ["TLS_RSA_WITH_AES_128_CBC_SHA"]}):
        with pytest.raises(SourceError):
            read(bad)


def test_what_is_read_holds_for_contexts() -> None:
    lowest, suites = TlsRange("TLSv1_3"), TlsRange("", "TLSv1_2", (SUITES[next(iter(SUITES))],))
    made = tls.build(AUTHORITY.leaf("web"), ROOTS, ranges=(lowest, suites), tunnel=True)
    assert made.http2 is not None and made.tunnel is not None
    for context in (made.server, made.http2[0]):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    for context in (made.client, made.http2[1], made.tunnel):
        assert context.maximum_version is ssl.TLSVersion.TLSv1_2
        old = [each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"]
        assert old == [suites.suites[0]]


@pytest.mark.parametrize("suite", sorted(SUITES.values()))
def test_every_suite_is_known_to_the_library(suite: str) -> None:
    front = tls.front(AUTHORITY.leaf("web"), TlsRange(suites=(suite,)), "http/1.1")
    assert front.verify_mode is ssl.CERT_NONE
    assert suite in [each["name"] for each in front.get_ciphers()]
