"""What a wish to revoke comes to."""

from __future__ import annotations

import pytest

from agent.connect import ca, serials
from agent.connect.revoking import REASON_CHARS_MAX, Wish, denied, entry, in_force
from agent.errors import RequestError
from proxy.spiffe import SpiffeId
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
        ({"uri": f"spiffe://{TRUST_DOMAIN}"}, "not of a service"),
        ({"node": "n", "service": "web"}, "give one of"),
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


def test_a_client_agent_is_denied_by_its_nodes_name():
    made = entry(Wish(node="n1"), trust_domain=TRUST_DOMAIN, datacenter="dc1")
    uri = f"spiffe://{TRUST_DOMAIN}/agent/client/dc/dc1/id/n1"
    assert made.uri == uri
    by_uri = Wish(uri=uri)
    assert entry(by_uri, trust_domain=TRUST_DOMAIN, datacenter="dc1") == made


def test_by_its_serial_number_alone_a_certificate_is_known_to_be_older_than_a_revocation():
    web = SpiffeId.service(TRUST_DOMAIN, "dc1", "web")
    listed = [RevokedLeaf(id="0a", serial="0a"), RevokedLeaf(id=web.uri, uri=web.uri, counter=7)]

    def why(counter: int, who: SpiffeId = web) -> str:
        return denied(listed, who, ca.serial_hex(serials.compose_serial(99, counter)))

    assert "issued so far" in why(7) and "issued so far" in why(1)
    assert why(8) == "" and why(7, SpiffeId.service(TRUST_DOMAIN, "dc1", "api")) == ""
    assert "serial 0A was" in denied(listed, web, "0A")
    for text in ("", "not hex", "0", "f" * 41):
        assert denied(listed, web, text) == ""
