"""Refusals in the words that clients match on; the texts are recordings of the reference."""

from __future__ import annotations

import pytest

from agent.definitions import CheckDefinition
from agent.errors import RequestError
from agent.local.validate import multi_error, validate_check, validate_service
from raftstore.records import (
    ExposePath,
    Proxy,
    ServiceId,
    ServiceName,
    TaggedAddress,
    Upstream,
    Weights,
)
from tests.agent.local.parts import ttl, web

LONG_KEY = "a" * 129
BOTH = "Interval and TTL cannot both be specified"
NO_TTL = "TTL must be > 0 for TTL checks"
NO_INTERVAL = "Interval must be > 0 for Script, HTTP, H2PING, or TCP checks"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": ServiceName("")}, "Missing service name"),
        ({"address": "0.0.0.0"}, "Invalid service address"),
        ({"address": "::"}, "Invalid service address"),
        ({"address": "[::]"}, "Invalid service address"),
        ({"port": 70000}, "Invalid service port"),
        ({"weights": Weights(0, 1)}, "Invalid Weights: Passing must be greater than 0"),
        ({"weights": Weights(-1, 1)}, "Invalid Weights: Passing must be greater than 0"),
        (
            {"meta": {"bad key!": "v"}},
            "Invalid Service Meta: Couldn't load metadata pair ('bad key!', 'v'): "
            "Key contains invalid characters",
        ),
        (
            {"meta": {LONG_KEY: "v"}},
            f"Invalid Service Meta: Couldn't load metadata pair ('{LONG_KEY}', 'v'): "
            "Key is too long (limit: 128 characters)",
        ),
        (
            {"meta": {"consul-x": "v"}},
            "Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'v'): "
            "Key prefix 'consul-' is reserved for internal use",
        ),
        (
            {"tagged_addresses": {"lan_ipv4": TaggedAddress("::1", 1)}},
            "Invalid tagged address 'lan_ipv4': '::1' is no IPv4 address",
        ),
        (
            {"checks": (ttl(status="zzz"),)},
            "Status for checks must 'passing', 'warning', 'critical'",
        ),
        ({"checks": (ttl(http="http://x", interval_s=5.0),)}, f"Invalid check: {BOTH}"),
        ({"checks": (CheckDefinition(interval_s=10.0),)}, f"Invalid check: {NO_TTL}"),
        (
            {"kind": "connect-proxy"},
            "2 errors occurred:\n"
            "\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n"
            "\t* Port or SocketPath must be set for a Connect proxy\n\n",
        ),
        (
            {"sidecar": web(id=ServiceId("q"))},
            "1 error occurred:\n\t* A SidecarService cannot specify an ID as this is managed "
            "by the agent\n\n",
        ),
    ],
)
def test_a_bad_service_is_refused_in_the_known_words(fields, text) -> None:
    with pytest.raises(RequestError) as refused:
        validate_service(web(**fields))
    assert (refused.value.status, refused.value.text) == (400, text)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (CheckDefinition(ttl_s=1.0), "Missing check name"),
        (ttl("c", status="nope"), "Bad check status"),
        (CheckDefinition(name="c"), f"Invalid check: {NO_TTL}"),
        (CheckDefinition(name="c", interval_s=10.0), f"Invalid check: {NO_TTL}"),
        (CheckDefinition(name="c", http="http://x"), f"Invalid check: {NO_INTERVAL}"),
        (CheckDefinition(name="c", tcp="x:1"), f"Invalid check: {NO_INTERVAL}"),
        (CheckDefinition(name="c", grpc="x:1"), f"Invalid check: {NO_INTERVAL}"),
        (
            CheckDefinition(name="c", http="http://x", tcp="x", interval_s=-1.0),
            f"Invalid check: {NO_INTERVAL}",
        ),
        (ttl("c", interval_s=10.0), f"Invalid check: {BOTH}"),
        (
            CheckDefinition(name="c", alias_service=ServiceId("x"), interval_s=1.0),
            "Invalid check: Interval cannot be set for Alias checks",
        ),
        (
            CheckDefinition(name="c", alias_service=ServiceId("x"), ttl_s=1.0),
            "Invalid check: TTL must be not be set for Alias checks",
        ),
        (
            CheckDefinition(name="c", http="http://x", interval_s=1.0, output_max_size=-1),
            "Invalid check: MaxOutputMaxSize must be positive",
        ),
        (
            CheckDefinition(
                name="c",
                tcp="x:1",
                interval_s=1.0,
                failures_before_critical=2,
                failures_before_warning=3,
            ),
            "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
        ),
    ],
)
def test_a_bad_check_is_refused_in_the_known_words(check, text) -> None:
    with pytest.raises(RequestError) as refused:
        validate_check(check)
    assert (refused.value.status, refused.value.text) == (400, text)


def test_what_the_reference_accepts_is_accepted() -> None:
    validate_service(web(kind="nope"))
    validate_service(web(port=1, socket_path="/tmp/x"))
    validate_service(web(connect_native=True, sidecar=web(name=ServiceName("")), port=1))
    validate_service(web(name=ServiceName("sp ace")))
    validate_check(CheckDefinition(name="c", alias_service=ServiceId("no-such")))


def test_upstreams_may_not_share_a_destination_or_a_bind_address() -> None:
    proxy = Proxy(
        destination_service_name="web",
        upstreams=(
            Upstream(destination_name="db", local_bind_port=9000),
            Upstream(destination_name="db", local_bind_port=9000, destination_type="service"),
        ),
        expose_paths=(ExposePath(path="/x", listener_port=0),),
    )
    with pytest.raises(RequestError) as refused:
        validate_service(web(kind="connect-proxy", port=1, proxy=proxy))
    text = refused.value.text
    assert text.startswith("3 errors occurred:\n")
    assert 'upstreams cannot contain duplicates of "db"' in text
    assert '"127.0.0.1:9000" is specified twice' in text


def test_several_errors_come_as_one_list() -> None:
    assert multi_error(["a"]) == "1 error occurred:\n\t* a\n\n"
    assert multi_error(["a", "b"]) == "2 errors occurred:\n\t* a\n\t* b\n\n"
