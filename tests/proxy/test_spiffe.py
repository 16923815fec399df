"""SPIFFE ids: which URIs name somebody."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy import spiffe
from proxy.errors import IdentityError
from proxy.spiffe import Kind, SpiffeId
from tests.strategies import scaled

TD = "11111111-2222-3333-4444-555555555555.consul"

names = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=40)
hosts = st.from_regex(r"[a-z0-9._-]{1,60}", fullmatch=True)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"spiffe://{TD}", SpiffeId(kind=Kind.CA, trust_domain=TD)),
        (f"spiffe://{TD}/ns/default/dc/dc1/svc/web", SpiffeId.service(TD, "dc1", "web")),
        (f"spiffe://{TD}/ap/default/ns/default/dc/dc1/svc/web", SpiffeId.service(TD, "dc1", "web")),
        (f"spiffe://{TD.upper()}/ns/default/dc/dc1/svc/Web", SpiffeId.service(TD, "dc1", "Web")),
        (f"spiffe://{TD}/ns/default/dc/dc1/svc/a%2Fb%20c", SpiffeId.service(TD, "dc1", "a/b c")),
        (
            f"spiffe://{TD}/agent/client/dc/dc1/id/node-1",
            SpiffeId(kind=Kind.AGENT, trust_domain=TD, datacenter="dc1", name="node-1"),
        ),
        (
            f"spiffe://{TD}/agent/server/dc/dc1",
            SpiffeId(kind=Kind.SERVER, trust_domain=TD, datacenter="dc1"),
        ),
        (
            f"spiffe://{TD}/gateway/mesh/dc/dc1",
            SpiffeId(kind=Kind.MESH_GATEWAY, trust_domain=TD, datacenter="dc1"),
        ),
    ],
)
def test_every_form_is_read(uri: str, expected: SpiffeId) -> None:
    assert spiffe.parse(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "web",
        "spiffe:/x",
        f"http://{TD}/ns/default/dc/dc1/svc/web",
        f"spiffe://user@{TD}/ns/default/dc/dc1/svc/web",
        f"spiffe://{TD}:8443/ns/default/dc/dc1/svc/web",
        "spiffe:///ns/default/dc/dc1/svc/web",
        f"spiffe://{TD}/",
        f"spiffe://{TD}/ns/default/dc/dc1/svc/",
        f"spiffe://{TD}/ns/default/dc//svc/web",
        f"spiffe://{TD}/ns/default/dc/dc1/svc/web/more",
        f"spiffe://{TD}/ns/default/dc/dc1/svc/web?x=1",
        f"spiffe://{TD}/ns/default/dc/dc1/svc/web#x",
        f"spiffe://{TD}/ns/other/dc/dc1/svc/web",
        f"spiffe://{TD}/ap/other/ns/default/dc/dc1/svc/web",
        f"spiffe://{TD}/ap/default/agent/server/dc/dc1",
        f"spiffe://{TD}/ns/default/dc/dc1/svc/%zz",
        f"spiffe://{TD}/ns/default/dc/dc1/svc/%ff",
        f"spiffe://{TD}/ns/default/dc/dc1/svc/\ud800",
        f"spiffe://{TD}/ns/default/dc/dc1/svc/" + "a" * 2048,
    ],
)
def test_anything_else_is_refused(uri: str) -> None:
    with pytest.raises(IdentityError):
        spiffe.parse(uri)


@settings(max_examples=scaled(300), deadline=None)
@given(hosts, names, names, st.sampled_from(list(Kind)))
@example(TD, "dc1", "..", Kind.SERVICE)
def test_what_is_written_is_read_back(host: str, dc: str, name: str, kind: Kind) -> None:
    identity = SpiffeId(
        kind=kind,
        trust_domain=host,
        datacenter="" if kind is Kind.CA else dc,
        name=name if kind in {Kind.SERVICE, Kind.AGENT} else "",
    )
    if len(identity.uri) > spiffe.URI_MAX:
        return
    assert identity.uri.isascii()
    assert spiffe.parse(identity.uri) == identity


@settings(max_examples=scaled(300), deadline=None)
@given(
    st.text(max_size=80) | st.text("spife:/%nsdcvadefult0", max_size=80).map("spiffe://a/".__add__)
)
def test_noise_is_refused_or_read_but_never_breaks(text: str) -> None:
    try:
        identity = spiffe.parse(text)
    except IdentityError:
        return
    assert spiffe.parse(identity.uri) == identity


def test_a_certificate_has_exactly_one_uri() -> None:
    uri = f"spiffe://{TD}/ns/default/dc/dc1/svc/web"
    assert spiffe.of_uris([uri]).name == "web"
    for uris in ([], [uri, uri], [uri, "https://x"]):
        with pytest.raises(IdentityError, match="exactly one URI SAN"):
            spiffe.of_uris(uris)
