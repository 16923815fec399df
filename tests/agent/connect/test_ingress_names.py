"""Which DNS names the certificate of an ingress gateway holds."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.connect.ingress_names import NAMES_MAX, dns_names

DEFAULTS = ("*.ingress.consul", "*.ingress.dc1.consul")


def names(entry: Any, *zones: str) -> tuple[str, ...]:
    return dns_names(entry, domains=zones or ("consul",), datacenter="dc1")


def entry(*hosts: object, tls: Any = None, **listener: Any) -> dict[str, Any]:
    one = {"Port": 1, "Services": [{"Name": "web", "Hosts": list(hosts)}], **listener}
    return {"Listeners": [one]} | ({} if tls is None else {"TLS": {"Enabled": tls}})


def test_hosts_of_a_gateway_that_speaks_tls_and_the_names_of_dns() -> None:
    found = names(entry("Shop.Example.com:8443", "*.b.example", tls=True))
    assert found == ("*.b.example", *DEFAULTS, "shop.example.com")
    assert names(entry(tls=True), "consul", "lictor.example") == (
        "*.ingress.consul", "*.ingress.dc1.consul", "*.ingress.dc1.lictor.example",
        "*.ingress.lictor.example",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "secure"),
    [
        (entry("a.b"), False),
        (entry("a.b", tls=False), False),
        (entry("a.b", TLS={"Enabled": True}), True),
        (entry("a.b", tls=True, TLS={"Enabled": False}), False),
        (entry("a.b", tls=True, TLS={}), True),
        (None, False),
    ],
)
def test_only_listeners_that_show_a_certificate_have_names_in_it(given: Any, secure: bool) -> None:
    assert ("a.b" in names(given)) is secure
    assert bool(names(given)) is secure


def test_what_no_certificate_can_hold_is_left_out() -> None:
    odd = ["*", "a..b", "-a.b", "b\u00fccher.example", "a b", "x" * 64 + ".b"]
    odd.append(".".join(["abc"] * 80))
    assert names(entry(*odd, tls=True)) == DEFAULTS
    assert len(names(entry(*[f"h{n}.example" for n in range(999)], tls=True))) == NAMES_MAX


@settings(max_examples=60)
@given(st.lists(st.text(max_size=20) | st.none() | st.integers(), max_size=9))
def test_every_name_can_stand_in_a_certificate(hosts: list[object]) -> None:
    for name in names(entry(*hosts, tls=True)):
        x509.DNSName(name).value.encode("ascii")
