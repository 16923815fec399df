"""Names of cipher suites, and the ones nobody should use."""

from __future__ import annotations

import pytest

from agent.config.ciphers import openssl_ciphers
from agent.errors import ConfigError


def test_names_become_openssls() -> None:
    text = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256,"
    assert openssl_ciphers(text, "k") == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert openssl_ciphers("", "k") == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("TLS_RSA_WITH_AES_128_GCM_SHA256", "too weak"),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "too weak"),
        ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", "too weak"),
        ("HIGH", "no such suite"),
    ],
)
def test_others_are_refused(name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"tls.k: unsupported cipher suite {name}: .*{why}"):
        openssl_ciphers(name, "tls.k")
