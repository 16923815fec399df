"""What a wish to revoke comes to."""

from __future__ import annotations

import pytest

from agent.connect.revoking import REASON_CHARS_MAX, Wish, entry, in_force
from agent.errors import RequestError
from raftstore.definitions import RevokedLeaf
from tests.proxy.mesh import TRUST_DOMAIN, Authority

DB = f"spiffe://{TRUST_DOMAIN}/ns/default/dc/dc1/svc/db"


def made(**fields: object) -> RevokedLeaf:
    return entry(Wish(**fields), trust_domain=TRUST_DOMAIN, datacenter="dc1")  # type: ignore[arg-type]


def test_the_ways_to_name_what_is_meant() -> None:
    assert made(serial="A0B").id == "0a:0b"
    assert made(serial="0a:0b").serial == "0a:0b"
    assert made(service="db", before=5.0) == made(uri=DB, before=5.0)
    leaf = Authority().leaf("db")
    found = made(cert_pem=leaf.cert_pem, reason="lost")
    assert (found.reason, found.id) == ("lost", found.serial)
    assert found.expires_at > 0
    assert in_force([found]).serials == {int(found.serial.replace(":", ""), 16)}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "give one of"),
        ({"serial": "1", "service": "db"}, "give one of"),
        ({"serial": "zz"}, "invalid literal|serial"),
        ({"serial": "0"}, "serial number 0"),
        ({"serial": "1", "before": 5.0}, "Before goes with"),
        ({"service": "db", "before": -5.0}, "1970"),
        ({"service": "db", "reason": "x" * (REASON_CHARS_MAX + 1)}, "Reason"),
        ({"uri": "http://x"}, "ServiceURI"),
        ({"uri": "spiffe://other.consul/ns/default/dc/dc1/svc/db"}, "other.consul"),
        ({"uri": f"spiffe://{TRUST_DOMAIN}/agent/client/dc/dc1/id/n"}, "not of a service"),
        ({"cert_pem": "x"}, "no certificate"),
        ({"cert_pem": "x" * 70_000}, "CertPEM has at most"),
    ],
)
def test_what_means_nothing_is_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        made(**fields)


def test_certificates_of_others_and_of_an_authority_are_refused() -> None:
    foreign = Authority("99999999-2222-3333-4444-555555555555").leaf("db").cert_pem
    with pytest.raises(RequestError, match="trust domain"):
        made(cert_pem=foreign)
    with pytest.raises(RequestError, match="rotate the root"):
        made(cert_pem=Authority().root.public.root_cert)
