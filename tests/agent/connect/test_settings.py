"""What an operator may set about the authority."""

from __future__ import annotations

from typing import Any

import pytest

from agent.connect import settings
from agent.errors import RequestError


def test_both_spellings_are_taken_over_the_defaults() -> None:
    read = settings.read({"leaf_cert_ttl": "24h", "CSRMaxPerSecond": 5})
    assert (read.leaf_ttl_s, read.csr_max_per_second) == (86400.0, 5.0)
    assert settings.normalise({}) == {"IntermediateCertTTL": "8760h", "LeafCertTTL": "72h"}
    assert settings.read({}).csr_max_per_second == 50.0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"LeafCertTTL": "30m"}, "leaf cert TTL must be greater or equal than 1h0m0s"),
        ({"LeafCertTTL": "9000h"}, "leaf cert TTL must be less than 8760h0m0s"),
        (
            {"IntermediateCertTTL": "100h"},
            "Intermediate Cert TTL must be greater or equal than 3 * LeafCertTTL (>=216h0m0s).",
        ),
        ({"PrivateKeyType": "ed25519"}, "private key type must be either 'ec' or 'rsa'"),
        (
            {"PrivateKeyBits": 999},
            "EC key length must be one of (224, 256, 384, 521) bits",
        ),
        ({"Nonsense": 1}, 'unknown CA config key "Nonsense"'),
        ({"cluster_id": "x"}, "cluster_id must be a UUID"),
        ({"LeafCertTTL": True}, "invalid duration True"),
        ({"LeafCertTTL": "x"}, 'time: invalid duration "x"'),
        ({"CSRMaxPerSecond": -1}, "CSRMaxPerSecond must be a number of at least 0"),
    ],
)
def test_a_bad_setting_is_refused_in_the_references_words(given: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError) as caught:
        settings.read(given)
    assert caught.value.status == 500
    assert caught.value.text == f"error configuring provider: {text}"
