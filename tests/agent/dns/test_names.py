"""Names are read as section 2 of the DNS contract says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.dns import names
from agent.dns.names import Kind, Zones, make_zone
from tests.strategies import scaled

SRV, A = 33, 1
ZONES = Zones(make_zone("consul."), make_zone("Alt.Example"))


def read(text: str, qtype: int = A) -> names.Lookup:
    return names.read(tuple(text.lower().encode().split(b".")), qtype, ZONES)


@pytest.mark.parametrize(
    ("text", "kind", "name", "tag", "datacenter"),
    [
        ("web.service.consul", Kind.SERVICE, "web", "", ""),
        ("WEB.Service.Consul", Kind.SERVICE, "web", "", ""),
        ("v1.02.db.service.dc1.consul", Kind.SERVICE, "db", "v1.02", "dc1"),
        ("db.service.dc2.dc.consul", Kind.SERVICE, "db", "", "dc2"),
        ("_db._tcp.service.consul", Kind.SERVICE, "db", "", ""),
        ("_db._udp.service.consul", Kind.SERVICE, "db", "udp", ""),
        ("_db.service.consul", Kind.SERVICE, "_db", "", ""),
        ("x.web.connect.consul", Kind.CONNECT, "web", "", ""),
        ("a.b.node.dc1.alt.example", Kind.NODE, "a.b", "", "dc1"),
    ],
)
def test_a_name_is_read_from_the_right(
    text: str, kind: Kind, name: str, tag: str, datacenter: str
) -> None:
    lookup = read(text)
    assert (lookup.kind, lookup.name, lookup.tag, lookup.datacenter) == (
        kind,
        name,
        tag,
        datacenter,
    )


@pytest.mark.parametrize(
    "text",
    [
        "consul",
        "service.consul",
        "nothing.consul",
        "web.service.a.b.consul",
        "_web.consul",
        "_web._tcp.consul",
        "0a6300011.addr.consul",
        "zz630001.addr.consul",
        "x.0a630001.addr.consul",
    ],
)
def test_names_without_meaning_say_why(text: str) -> None:
    lookup = read(text)
    assert lookup.kind is Kind.NOTHING
    assert lookup.reason


@pytest.mark.parametrize("text", ["example.com", "xconsul", "consul.example.com", "com"])
def test_a_zone_is_a_suffix_of_whole_labels(text: str) -> None:
    assert read(text).kind is Kind.OUTSIDE


def test_the_root_is_outside() -> None:
    assert names.read((), A, ZONES).kind is Kind.OUTSIDE


def test_rfc2782_without_service_label_answers_srv_only() -> None:
    assert read("_db._amqp.consul", SRV).name == "db"
    assert read("_db._amqp.dc1.consul", SRV).datacenter == "dc1"
    assert read("_db._amqp.consul", A).kind is Kind.NOTHING


def test_addr_names_hold_an_address() -> None:
    assert read("0A630001.addr.whatever.consul").address == bytes([10, 99, 0, 1])
    assert len(read("20010db800010002cafe000000001337.addr.consul").address) == 16
    assert read("0a6300.addr.consul").address == b""


def test_reverse_names_hold_an_address() -> None:
    assert read("1.0.99.10.in-addr.arpa").address == bytes([10, 99, 0, 1])
    assert read(".".join("1" + "0" * 31) + ".ip6.arpa").address == bytes(15) + b"\1"
    for text in ("256.0.0.1.in-addr.arpa", "1.2.3.in-addr.arpa", "x.ip6.arpa", "arpa"):
        assert read(text).kind is Kind.REVERSE
        assert read(text).address == b""


def test_the_longest_zone_wins() -> None:
    zones = Zones(make_zone("consul"), make_zone("test.consul"))
    lookup = names.read((b"a", b"node", b"test", b"consul"), A, zones)
    assert lookup.zone is zones.alternative
    assert lookup.datacenter == ""


@settings(max_examples=scaled(300), deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=63), max_size=6),
    st.sampled_from([(), (b"consul",), (b"service", b"consul"), (b"addr", b"consul"), (b"arpa",)]),
    st.integers(0, 65535),
)
def test_any_labels_can_be_read(left: list[bytes], right: tuple[bytes, ...], qtype: int) -> None:
    lookup = names.read((*left, *right), qtype, ZONES)
    assert lookup.kind is not Kind.NOTHING or lookup.reason


@pytest.mark.parametrize(
    ("cidr", "zones"),
    [
        ("10.0.0.0/8", ["10.in-addr.arpa."]),
        ("192.168.4.0/24", ["4.168.192.in-addr.arpa."]),
        ("172.16.0.0/15", ["16.172.in-addr.arpa.", "17.172.in-addr.arpa."]),
        ("10.1.2.3/32", ["3.2.1.10.in-addr.arpa."]),
        ("2001:db8::/32", ["8.b.d.0.1.0.0.2.ip6.arpa."]),
        ("fc00::/7", ["c.f.ip6.arpa.", "d.f.ip6.arpa."]),
    ],
)
def test_a_range_has_reverse_zones_at_whole_labels(cidr: str, zones: list[str]) -> None:
    made = names.reverse_zones([cidr])
    assert [zone.text for zone in made] == zones
    owned = {".".join(zone.labels).encode(): zone for zone in made}
    inside = (b"1", *(label.encode() for label in made[0].labels))
    assert names.reverse_zone(inside, owned) is made[0]
    assert names.reverse_zone((b"1", b"in-addr", b"arpa"), owned) is None
