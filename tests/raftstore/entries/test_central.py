"""Who wins between a registration and config entries, for proxies and their upstreams."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from raftstore.entries.central import entries_of, merge, merged
from raftstore.records import ExposePath, Proxy, Service, ServiceId, ServiceName, Upstream

EVERYWHERE, OWN, API = (
    ("proxy-defaults", "global"),
    ("service-defaults", "web"),
    ("service-defaults", "api"),
)


def sidecar(*upstreams: Upstream, **proxy: Any) -> Service:
    return Service(
        id=ServiceId("web-proxy"),
        name=ServiceName("web-proxy"),
        kind="connect-proxy",
        proxy=Proxy(destination_service_name="web", upstreams=upstreams, **proxy),
    )


def test_a_registration_wins_over_its_service_and_that_over_all() -> None:
    own = {
        "Mode": "transparent",
        "MeshGateway": {"Mode": "remote"},
        "TransparentProxy": {"OutboundListenerPort": 15002, "DialedDirectly": True},
        "Expose": {"Checks": True, "Paths": [{"Path": "/m", "ListenerPort": 1}]},
    }
    for_all = {"Mode": "direct", "MeshGateway": {"Mode": "local"}, "Expose": {"Checks": True}}
    told = merge(Proxy(), own, for_all)
    assert (told.mode, told.mesh_gateway_mode) == ("transparent", "remote")
    assert (told.outbound_listener_port, told.dialed_directly) == (15002, True)
    assert (told.expose_checks, told.expose_paths) == (
        True,
        (ExposePath(path="/m", listener_port=1),),
    )
    given = Proxy(mode="direct", mesh_gateway_mode="none", expose_checks=True)
    told = merge(given, own, for_all)
    assert (told.mode, told.mesh_gateway_mode, told.expose_paths) == ("direct", "none", ())
    assert merge(Proxy(), {}, {}) == Proxy()


def test_upstreams_have_the_defaults_of_both_sides() -> None:
    upstreams = (
        Upstream(destination_name="api", config={"limits": {"max_connections": 3}}),
        Upstream(destination_type="prepared_query", destination_name="q"),
        Upstream(destination_name="db", mesh_gateway_mode="none"),
    )
    entries = {
        EVERYWHERE: {"Config": {"protocol": "grpc"}},
        OWN: {
            "UpstreamConfig": {
                "Defaults": {"ConnectTimeoutMs": 70, "MeshGateway": {"Mode": "local"}},
                "Overrides": [
                    {"Name": "api", "Limits": {"MaxConnections": 9, "MaxPendingRequests": 8}}
                ],
            }
        },
        API: {"Protocol": "http", "MeshGateway": {"Mode": "remote"}},
    }
    api, query, db = merged(sidecar(*upstreams), entries).proxy.upstreams
    assert api.config == {
        "protocol": "http",
        "connect_timeout_ms": 70,
        "limits": {"max_connections": 3, "max_pending_requests": 8},
    }
    assert api.mesh_gateway_mode == "local"
    assert query == upstreams[1]
    assert (db.config, db.mesh_gateway_mode) == (
        {"protocol": "grpc", "connect_timeout_ms": 70},
        "none",
    )


def test_entries_of_the_service_behind_count_or_a_gateways_own() -> None:
    assert entries_of(sidecar(Upstream(destination_name="api"))) == (EVERYWHERE, OWN, API)
    gateway = Service(id=ServiceId("g"), name=ServiceName("g"), kind="mesh-gateway")
    assert entries_of(gateway) == (EVERYWHERE, ("service-defaults", "g"))
    plain = Service(id=ServiceId("web"), name=ServiceName("web"))
    assert entries_of(plain) == ()
    assert merged(plain, {EVERYWHERE: {"Mode": "direct"}}) is plain


@given(
    st.dictionaries(st.sampled_from(["a", "protocol"]), st.integers() | st.text(max_size=3)),
    st.sampled_from(["", "http", "tcp"]),
)
def test_merging_twice_changes_nothing_more(config: dict[str, Any], protocol: str) -> None:
    entries = {EVERYWHERE: {"Config": {"a": 1}, "Mode": "direct"}, OWN: {"Protocol": protocol}}
    service = sidecar(Upstream(destination_name="api"), config=config)
    once = merged(service, entries)
    assert merged(once, entries) == once
    assert {**(once.proxy.config or {}), **config} == once.proxy.config
