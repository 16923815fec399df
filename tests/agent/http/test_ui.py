"""What user interfaces ask: summaries, neighbours, counts, the state of the federation."""

from __future__ import annotations

from typing import Any

import pytest

from agent.http.topology import decide
from raftstore.records import Intention, IntentionSource, ServiceName
from tests.agent.http.rig import Client


async def register(client: Client, node: str, service: dict[str, Any], *states: str) -> None:
    checks = [
        {"CheckID": f"{node}-{service.get('ID', service['Service'])}-{n}", "Name": "c",
         "Status": state, "ServiceID": service.get("ID", service["Service"])}
        for n, state in enumerate(states)
    ]  # fmt: skip
    body = {"Node": node, "Address": "10.0.0.1", "Datacenter": "dc1", "Service": service}
    got = await client.put("/v1/catalog/register", body | {"Checks": checks})
    assert got.json is True, got.text


def proxy(of: str, *upstreams: str, mode: str = "") -> dict[str, Any]:
    return {
        "Service": f"{of}-proxy",
        "Kind": "connect-proxy",
        "Port": 1,
        "Proxy": {
            "DestinationServiceName": of,
            "Mode": mode,
            "Upstreams": [{"DestinationName": name, "LocalBindPort": 1} for name in upstreams],
        },
    }


async def test_a_service_is_summed_up_over_instances_nodes_and_proxies(client: Client) -> None:
    source = {"external-source": "nomad"}
    first = {"Service": "web", "ID": "w1", "Tags": ["x"], "Meta": source}
    second = {"Service": "web", "ID": "w2", "Tags": ["y"]}
    await register(client, "a", first, "passing")
    await register(client, "a", second, "warning", "critical")
    await register(client, "a", proxy("web"), "passing")
    node_check = {"Node": "a", "CheckID": "serfHealth", "Name": "s", "Status": "passing"}
    node = {"Node": "a", "Address": "10.0.0.1"}
    await client.put("/v1/catalog/register", node | {"Check": node_check})
    got = await client.get("/v1/internal/ui/services")
    assert got.headers["x-consul-index"] != "1"
    assert got.json == [
        {
            "Name": "web",
            "Datacenter": "dc1",
            "Tags": ["x", "y"],
            "Nodes": ["a", "a"],
            "ExternalSources": ["nomad"],
            "InstanceCount": 2,
            "ChecksPassing": 3,
            "ChecksWarning": 1,
            "ChecksCritical": 1,
            "GatewayConfig": {},
            "TransparentProxy": False,
            "ConnectedWithProxy": True,
            "ConnectedWithGateway": False,
        },
        {
            "Kind": "connect-proxy",
            "Name": "web-proxy",
            "Datacenter": "dc1",
            "Tags": [],
            "Nodes": ["a"],
            "ExternalSources": None,
            "InstanceCount": 1,
            "ChecksPassing": 2,
            "ChecksWarning": 0,
            "ChecksCritical": 0,
            "GatewayConfig": {},
            "TransparentProxy": False,
            "ConnectedWithProxy": False,
            "ConnectedWithGateway": False,
        },
    ]
    kept = await client.get('/v1/internal/ui/services?filter=Service.Kind=="connect-proxy"')
    assert [each["Name"] for each in kept.json] == ["web", "web-proxy"]


async def test_nodes_are_told_with_all_they_hold_and_filtered(client: Client) -> None:
    await register(client, "a", {"Service": "web"}, "passing")
    await register(client, "b", {"Service": "db"})
    for expression, nodes in (
        ('Services.Service=="web"', ["a"]),
        ('Checks.Status=="passing"', ["a"]),
        ('Node=="b"', ["b"]),
    ):
        got = await client.get(f"/v1/internal/ui/nodes?filter={expression}")
        assert [each["Node"] for each in got.json] == nodes
    refused = await client.get('/v1/internal/ui/nodes?filter=Datacenter=="dc1"')
    assert refused.status == 500 and refused.headers["x-consul-index"] == "1"


async def topology(client: Client, service: str) -> dict[str, list[tuple[str, str, bool]]]:
    got = (await client.get(f"/v1/internal/ui/service-topology/{service}?kind=")).json
    return {
        side: [(e["Name"], e["Source"], e["Intention"]["Allowed"]) for e in got[side]]
        for side in ("Upstreams", "Downstreams")
    }


async def test_neighbours_are_those_that_proxies_were_registered_to_reach(client: Client) -> None:
    for name in ("web", "api", "db"):
        await register(client, "a", {"Service": name}, "passing")
    await register(client, "a", proxy("web", "api", "gone"))
    await register(client, "a", proxy("api", "db"))
    await client.ask("PUT", "/v1/connect/intentions/exact?source=web&destination=api",
                     b'{"Action":"deny"}')  # fmt: skip
    registered = "proxy-registration"
    assert await topology(client, "web") == {
        "Upstreams": [("api", registered, False)],
        "Downstreams": [],
    }
    assert await topology(client, "API") == {
        "Upstreams": [("db", registered, True)],
        "Downstreams": [("web", registered, False)],
    }


async def test_intentions_name_neighbours_where_proxies_take_all_traffic(client: Client) -> None:
    for name in ("web", "api", "db"):
        await register(client, "a", {"Service": name}, "passing")
    for name in ("web", "api"):
        await register(client, "a", proxy(name, mode="transparent"))
    await register(client, "a", proxy("db"))
    assert (await topology(client, "web"))["Upstreams"] == [("api", "default-allow", True)]
    await client.ask("PUT", "/v1/connect/intentions/exact?source=*&destination=*",
                     b'{"Action":"deny"}')  # fmt: skip
    assert (await topology(client, "web"))["Upstreams"] == []
    await client.ask("PUT", "/v1/connect/intentions/exact?source=web&destination=api",
                     b'{"Action":"allow"}')  # fmt: skip
    assert (await topology(client, "web"))["Upstreams"] == [("api", "specific-intention", True)]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("service-topology/", "Missing service name"),
        ("service-topology/web", "Missing service kind"),
        ("service-topology/web?kind=x", 'Unsupported service kind "x"'),
        ("node/", "Missing node name"),
        ("gateway-services-nodes/", "Missing gateway name"),
        ("gateway-intentions/", "Missing gateway name"),
    ],
)
async def test_what_is_missing_is_named(client: Client, path: str, words: str) -> None:
    got = await client.get(f"/v1/internal/ui/{path}")
    assert (got.status, got.text) == (400, words)


def test_the_first_intention_that_fits_decides() -> None:
    def intention(source: str, destination: str, action: str) -> Intention:
        held = IntentionSource(name=ServiceName(source), action=action)
        return Intention(destination=ServiceName(destination), source=held)

    ordered = [intention("web", "api", "allow"), intention("*", "api", "deny")]
    exact = decide(ordered, "Web", "API", default_allow=False)
    assert (exact.allowed, exact.has_exact, exact.default_allow) == (True, True, False)
    by_star = decide(ordered, "db", "api", default_allow=True)
    assert (by_star.allowed, by_star.has_exact) == (False, False)
    assert decide(ordered, "db", "web", default_allow=True).allowed


async def test_everything_is_counted_by_its_state(client: Client) -> None:
    await register(client, "a", {"Service": "web"}, "passing", "warning")
    await register(client, "b", {"Service": "web"}, "critical")
    got = (await client.get("/v1/internal/ui/catalog-overview")).json
    count = {"Total": 2, "Passing": 0, "Warning": 1, "Critical": 1}
    assert got["Services"] == [{"Name": "web"} | count]
    assert got["Checks"] == [{"Name": "c", "Total": 3, "Passing": 1, "Warning": 1, "Critical": 1}]
    assert got["Nodes"] == [{"Total": 3, "Passing": 3, "Warning": 0, "Critical": 0}]


async def test_the_federation_is_this_datacenter(client: Client) -> None:
    (state,) = (await client.get("/v1/internal/federation-states")).json
    assert (state["Datacenter"], "MeshGateways" in state) == ("dc1", False)
    assert (await client.get("/v1/internal/federation-states/mesh-gateways")).json == {}
    await register(client, "a", {"Service": "gw", "Kind": "mesh-gateway", "Port": 443})
    got = (await client.get("/v1/internal/federation-state/DC1")).json
    assert [g["Service"]["Service"] for g in got["State"]["MeshGateways"]] == ["gw"]
    gateways = (await client.get("/v1/internal/federation-states/mesh-gateways")).json
    assert [each["Node"]["Node"] for each in gateways["dc1"]] == ["a"]
    assert (await client.get("/v1/internal/federation-state/dc9")).status == 404


async def test_usage_counts_services_by_kind(client: Client) -> None:
    await register(client, "a", {"Service": "web", "Connect": {"Native": True}})
    await register(client, "a", {"Service": "consul"})
    await register(client, "b", {"Service": "web"})
    await register(client, "b", proxy("web"))
    got = (await client.get("/v1/operator/usage?global")).json
    mesh = dict.fromkeys(
        ("api-gateway", "ingress-gateway", "mesh-gateway", "terminating-gateway"), 0
    )
    assert got["Usage"] == {
        "dc1": {
            "Nodes": 3,
            "Services": 3,
            "ServiceInstances": 4,
            "ConnectServiceInstances": mesh | {"connect-native": 1, "connect-proxy": 1},
            "BillableServiceInstances": 2,
        }
    }


async def test_the_services_behind_a_gateway_are_told_with_their_addresses(client: Client) -> None:
    await register(client, "a", {"Service": "web"}, "passing")
    await register(client, "a", {"Service": "gw", "Kind": "ingress-gateway", "Port": 8443})
    for body in (
        {"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"}},
        {
            "Kind": "ingress-gateway",
            "Name": "gw",
            "Listeners": [
                {"Port": 8080, "Protocol": "http",
                 "Services": [{"Name": "web"}, {"Name": "api", "Hosts": ["api.test"]}]}
            ],
        },
    ):  # fmt: skip
        got = await client.put("/v1/config", body)
        assert got.json is True, got.text
    lines = (await client.get("/v1/internal/ui/gateway-services-nodes/gw")).json
    assert [(e["Name"], e["InstanceCount"], e["GatewayConfig"]["Addresses"]) for e in lines] == [
        ("api", 0, ["api.test:8080"]),
        ("web", 1, ["web.ingress.dc1.consul:8080"]),
    ]
    by_name = {e["Name"]: e for e in (await client.get("/v1/internal/ui/services")).json}
    assert by_name["web"]["ConnectedWithGateway"] and not by_name["gw"]["ConnectedWithGateway"]
    assert by_name["gw"]["GatewayConfig"] == {"AssociatedServiceCount": 2}
    await client.ask("PUT", "/v1/connect/intentions/exact?source=gw&destination=web",
                     b'{"Action":"allow"}')  # fmt: skip
    await client.ask("PUT", "/v1/connect/intentions/exact?source=gw&destination=other",
                     b'{"Action":"allow"}')  # fmt: skip
    told = (await client.get("/v1/internal/ui/gateway-intentions/gw")).json
    assert [(each["SourceName"], each["DestinationName"]) for each in told] == [("gw", "web")]
