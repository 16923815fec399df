"""Default names, ids and ports, and what a sidecar request becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.definitions import CheckDefinition
from agent.errors import RequestError
from agent.local.expand import (
    PortRange,
    check_record,
    expand_sidecar,
    service_checks,
    service_record,
)
from raftstore.records import CheckId, Proxy, ServiceId, ServiceName, TaggedAddress, Weights
from tests.agent.local.parts import HOST, ttl, web

PORTS = PortRange(21000, 21002)
EMPTY = web(name=ServiceName(""))


def test_a_name_is_enough() -> None:
    record = service_record(web(), HOST)
    assert (record.id, record.name, record.meta, record.weights) == ("web", "web", {}, Weights())
    assert record.tagged_addresses is None


def test_an_address_fills_the_tagged_addresses_that_are_missing() -> None:
    given = {"wan": TaggedAddress("198.18.0.2", 80)}
    record = service_record(web(address="10.2.0.1", port=8000, tagged_addresses=given), HOST)
    own = TaggedAddress("10.2.0.1", 8000)
    assert record.tagged_addresses == {
        "lan": own,
        "lan_ipv4": own,
        "wan": TaggedAddress("198.18.0.2", 80),
        "wan_ipv4": own,
    }


def test_a_single_check_has_no_number_and_several_have() -> None:
    one = service_checks(web(id=ServiceId("w1"), checks=(ttl(),)))
    assert [(c.id, c.name, c.service_id) for c in one] == [
        ("service:w1", "Service 'web' check", "w1")
    ]
    more = service_checks(web(checks=(ttl(), ttl("mine"), ttl())))
    assert [check.id for check in more] == ["service:web:1", "mine", "service:web:3"]


def test_only_checks_on_their_own_show_their_times() -> None:
    check = CheckDefinition(id=CheckId("c"), name="c", http="http://x", interval_s=3600.0)
    alone = check_record(check, node=HOST, service=None, standalone=True)
    assert (alone.interval, alone.timeout, alone.type) == ("1h0m0s", "0s", "http")
    with_service = check_record(check, node=HOST, service=None, standalone=False)
    assert (with_service.interval, with_service.timeout) == ("", "")


def test_a_sidecar_is_completed_from_its_parent() -> None:
    parent = web(
        id=ServiceId("w1"),
        port=8080,
        address="10.1.1.1",
        tags=("a",),
        meta={"k": "v"},
        token="secret",
        sidecar=EMPTY,
    )
    sidecar = expand_sidecar(parent, taken={21000}, previous_port=0, ports=PORTS)
    assert sidecar is not None
    assert (sidecar.id, sidecar.name) == ("w1-sidecar-proxy", "web-sidecar-proxy")
    assert (sidecar.kind, sidecar.port, sidecar.address) == ("connect-proxy", 21001, "10.1.1.1")
    assert (sidecar.tags, sidecar.meta, sidecar.token) == (("a",), {"k": "v"}, "secret")
    assert sidecar.proxy == Proxy(
        destination_service_name="web",
        destination_service_id="w1",
        local_service_address="127.0.0.1",
        local_service_port=8080,
    )
    listening, alias = service_checks(sidecar)
    assert (listening.id, listening.name) == (
        "service:w1-sidecar-proxy:1",
        "Connect Sidecar Listening",
    )
    assert (listening.tcp, listening.interval_s) == ("127.0.0.1:21001", 10.0)
    assert (alias.id, alias.name, alias.alias_service) == (
        "service:w1-sidecar-proxy:2",
        "Connect Sidecar Aliasing w1",
        "w1",
    )


def test_what_a_sidecar_says_itself_stays() -> None:
    own = replace(EMPTY, port=5, tags=("b",), proxy=Proxy(local_service_port=9))
    sidecar = expand_sidecar(web(sidecar=own), taken=(), previous_port=0, ports=PORTS)
    assert sidecar is not None and sidecar.proxy is not None
    assert (sidecar.port, sidecar.tags, sidecar.proxy.local_service_port) == (5, ("b",), 9)


def test_a_sidecar_keeps_its_port_when_registered_again() -> None:
    parent = web(sidecar=EMPTY)
    sidecar = expand_sidecar(parent, taken={21000, 21002}, previous_port=21002, ports=PORTS)
    assert sidecar is not None and sidecar.port == 21002


def test_a_full_or_closed_port_range_is_refused() -> None:
    with pytest.raises(RequestError, match=r"none left in the configured range \[21000, 21002\]"):
        expand_sidecar(web(sidecar=EMPTY), taken=range(21000, 21003), previous_port=0, ports=PORTS)
    with pytest.raises(RequestError, match="auto-assignment disabled in config"):
        expand_sidecar(web(sidecar=EMPTY), taken=(), previous_port=0, ports=PortRange(0, 0))


def test_the_check_of_a_sidecar_asks_where_this_agent_lets_it_listen() -> None:
    sidecar = expand_sidecar(
        web(sidecar=EMPTY), taken=(), previous_port=0, ports=PortRange(21000, 21002, "127.0.0.9")
    )
    assert sidecar is not None
    assert sidecar.checks[0].tcp == "127.0.0.9:21000"
