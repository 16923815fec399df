"""Which settings count, and which instances may be dialled."""

from __future__ import annotations

from agent.connect import upstreams
from raftstore.queries import HealthEntry
from raftstore.records import Check, Node, Proxy, Service, Upstream, Weights


def service(*mine: Upstream, **config: object) -> Service:
    proxy = Proxy(destination_service_name="web", upstreams=mine, config=config or None)
    return Service(id="p", name="web-proxy", kind="connect-proxy", proxy=proxy)


def test_settings_count_in_order() -> None:
    defaults = {
        "proxy-defaults/global": {"Config": {"protocol": "http", "a": 1, "b": 1}},
        "service-defaults/web": {
            "Protocol": "grpc",
            "MaxInboundConnections": 7,
            "UpstreamConfig": {
                "Defaults": {"ConnectTimeoutMs": 100, "Limits": {"MaxConnections": 5}},
                "Overrides": [{"Name": "api", "Limits": {"MaxConnections": 0}}],
            },
        },
        "service-defaults/api": {"Protocol": "http2"},
    }
    api = Upstream(destination_name="api", config={"limits": {"max_pending_requests": 3}})
    db = Upstream(destination_name="db", config={"connect_timeout_ms": 50, "protocol": "TCP"})
    one = service(api, db, b=2)
    proxy = upstreams.proxy_of(one, defaults)
    assert proxy.config == {"protocol": "grpc", "a": 1, "b": 2, "max_inbound_connections": 7}
    first, second = upstreams.of(one, defaults)
    assert first.config["limits"] == {
        "max_connections": 0, "max_pending_requests": 3, "max_concurrent_requests": 1024,
    }  # fmt: skip
    assert (first.config["protocol"], first.protocol_override) == ("http2", "")
    assert second.config["limits"]["max_connections"] == 5
    assert (second.protocol_override, second.connect_timeout_override_ns) == ("tcp", 50_000_000)


def test_only_those_that_can_serve_are_dialled() -> None:
    def entry(node: str, *states: str, port: int = 80) -> HealthEntry:
        found = Service(id=f"s-{node}", name="api", port=port, weights=Weights(10, 2))
        checks = tuple(Check(id=f"c{at}", status=state) for at, state in enumerate(states))
        return HealthEntry(Node(name=node, address="10.0.0.1"), found, checks)

    found = (
        entry("d", "passing", "critical"),
        entry("c", "warning"),
        entry("b", "passing"),
        entry("a"),
        entry("e", port=0),
    )
    every = upstreams.endpoints(found, only_passing=False)
    assert [(one.node, one.weight, one.status) for one in every] == [
        ("a", 10, "passing"), ("b", 10, "passing"), ("c", 2, "warning"),
    ]  # fmt: skip
    assert [one.node for one in upstreams.endpoints(found, only_passing=True)] == ["a", "b"]
