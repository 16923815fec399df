"""Whom a certificate names, and who may speak Raft: every combination of names."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.raft.identity import (
    IdentityError,
    PeerIdentity,
    Refusal,
    Role,
    identify,
    read,
    refusal,
    server_name,
    server_uri,
)
from tests.certificates import TestCA

SERVER = "server.dc1.consul"
NODE = "f0c4-1"
URI = f"spiffe://consul/agent/server/dc/dc1/id/{NODE}"


@pytest.mark.parametrize(
    ("dns", "uris", "identity"),
    [
        ([SERVER, "localhost"], [], PeerIdentity("dc1", Role.SERVER)),
        (["SERVER.DC1.Consul."], [], PeerIdentity("dc1", Role.SERVER)),
        ([SERVER, "web1.server.dc1.consul"], [], PeerIdentity("dc1", Role.SERVER)),
        ([SERVER], [URI], PeerIdentity("dc1", Role.SERVER, NODE)),
        ([], [URI], PeerIdentity("dc1", Role.SERVER, NODE)),
        ([SERVER], ["https://example.com/x"], PeerIdentity("dc1", Role.SERVER)),
        ([SERVER], ["spiffe://a.consul/agent/server/dc/dc1"], PeerIdentity("dc1", Role.SERVER)),
        (["client.dc1.consul"], [], PeerIdentity("dc1", Role.CLIENT)),
        (["cli.dc2.consul"], [], PeerIdentity("dc2", Role.CLIENT)),
        ([], ["spiffe://x.consul/agent/client/dc/dc1/id/n"], PeerIdentity("dc1", Role.CLIENT, "n")),
    ],
)
def test_names_that_name_one_agent(dns, uris, identity):
    assert identify(dns, uris, domain="consul.") == identity


@pytest.mark.parametrize(
    ("dns", "uris", "why"),
    [
        ([], [], Refusal.NAMELESS),
        (["localhost", "web1.server.dc1.consul"], [], Refusal.NAMELESS),
        (["server.dc1.other"], [], Refusal.NAMELESS),
        ([], ["spiffe://other/agent/server/dc/dc1/id/n1"], Refusal.OTHER_TRUST_DOMAIN),
        ([], ["spiffe://xconsul/agent/server/dc/dc1/id/n1"], Refusal.OTHER_TRUST_DOMAIN),
        (["server.dc1.consul.evil.example"], [], Refusal.NAMELESS),
        (["*.dc1.consul"], [], Refusal.NAMELESS),
        (["server.server.dc1.consul"], [], Refusal.NAMELESS),
        (["server.dc1xconsul"], [], Refusal.NAMELESS),
        ([], ["spiffe://consul/ns/default/dc/dc1/svc/web"], Refusal.NAMELESS),
        ([], [URI + "/more"], Refusal.NAMELESS),
        ([], [URI + "?x"], Refusal.NAMELESS),
        ([], [URI + "%20"], Refusal.NAMELESS),
        ([], [URI + "\n"], Refusal.NAMELESS),
        ([SERVER, "server.dc2.consul"], [], Refusal.TWO_IDENTITIES),
        ([SERVER, "client.dc1.consul"], [], Refusal.TWO_IDENTITIES),
        ([SERVER], ["spiffe://consul/agent/server/dc/dc2/id/n"], Refusal.TWO_IDENTITIES),
        ([SERVER], ["spiffe://consul/agent/client/dc/dc1/id/n"], Refusal.TWO_IDENTITIES),
        ([SERVER], ["spiffe://consul/ns/default/dc/dc1/svc/web"], Refusal.TWO_IDENTITIES),
        ([SERVER], ["SPIFFE://consul/ns/default/dc/dc1/svc/web"], Refusal.TWO_IDENTITIES),
        ([], [URI, URI + "2"], Refusal.TWO_IDENTITIES),
    ],
)
def test_names_that_name_nobody_or_two(dns, uris, why):
    with pytest.raises(IdentityError) as error:
        identify(dns, uris, domain="consul.")
    assert error.value.refusal is why


@pytest.mark.parametrize(
    ("identity", "node_id", "required", "why"),
    [
        (PeerIdentity("dc1", Role.SERVER), "a", False, None),
        (PeerIdentity("dc1", Role.SERVER), "a", True, Refusal.NO_NODE_ID),
        (PeerIdentity("dc1", Role.SERVER), None, True, Refusal.NO_NODE_ID),
        (PeerIdentity("dc1", Role.SERVER, "a"), "a", True, None),
        (PeerIdentity("dc1", Role.SERVER, "a"), None, True, None),
        (PeerIdentity("dc1", Role.SERVER, "a"), "b", False, Refusal.OTHER_NODE),
        (PeerIdentity("dc2", Role.SERVER, "a"), "a", False, Refusal.OTHER_DATACENTER),
        (PeerIdentity("dc1", Role.CLIENT), "a", False, Refusal.NOT_A_SERVER),
        (PeerIdentity("dc1", Role.CLIENT, "a"), "a", True, Refusal.NOT_A_SERVER),
    ],
)
def test_who_may_speak_raft(identity, node_id, required, why):
    found = refusal(identity, datacenter="dc1", node_id=node_id, node_ids_required=required)
    assert found is why


def test_certificates_are_read(tmp_path):
    ca = TestCA(tmp_path)
    assert read(ca.server("a", NODE).der, domain="consul") == PeerIdentity("dc1", Role.SERVER, NODE)
    for der, why in (
        (None, Refusal.NO_CERTIFICATE),
        (b"", Refusal.NO_CERTIFICATE),
        (b"\x30\x00", Refusal.UNREADABLE),
        (b"rubbish", Refusal.UNREADABLE),
        (ca.issue("server.dc1.consul").der, Refusal.NAMELESS),  # only in the common name
    ):
        with pytest.raises(IdentityError) as error:
            read(der, domain="consul")
        assert error.value.refusal is why


WORDS = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=20)


@given(datacenter=WORDS, domain=st.sampled_from(["consul", "a.example."]), node_id=WORDS)
def test_what_we_write_we_read(datacenter, domain, node_id):
    identity = identify(
        [server_name(datacenter, domain)],
        [server_uri(datacenter, domain, node_id)],
        domain=domain,
    )
    assert identity == PeerIdentity(datacenter, Role.SERVER, node_id)


@given(
    dns=st.lists(st.text(max_size=40) | st.just(SERVER), max_size=3),
    uris=st.lists(st.text(max_size=40) | st.just(URI), max_size=3),
)
def test_no_names_are_too_strange(dns, uris):
    try:
        identity = identify(dns, uris, domain="consul")
    except IdentityError:
        return
    assert identity.role in Role


@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(der):
    with pytest.raises(IdentityError):
        read(der, domain="consul")
