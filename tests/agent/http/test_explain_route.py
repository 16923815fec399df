"""`/v1/explain/route`: where a request goes and whether it may, in one answer."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import RequestError
from agent.explain.intention import intention_explainer
from agent.explain.route import route_explainer
from agent.http.parse_config import subset_filter
from tests.agent.http.rig import Client, Rig

ENTRIES: tuple[dict[str, Any], ...] = (
    {"Kind": "proxy-defaults", "Config": {"protocol": "http"}},
    {
        "Kind": "service-resolver",
        "Name": "api",
        "Subsets": {"v1": {"Filter": "Service.Meta.version == 1"}, "v2": {"OnlyPassing": True}},
        "DefaultSubset": "v1",
        "Failover": {"v1": {"Service": "spare"}},
    },
    {
        "Kind": "service-splitter",
        "Name": "api",
        "Splits": [
            {"Weight": 75, "ServiceSubset": "v1"},
            {"Weight": 25, "ServiceSubset": "v2", "RequestHeaders": {"Set": {"x-canary": "1"}}},
        ],
    },
    {
        "Kind": "service-router",
        "Name": "api",
        "Routes": [
            {
                "Match": {"HTTP": {"PathPrefix": "/old", "Methods": ["GET"]}},
                "Destination": {"Service": "spare", "PrefixRewrite": "/new", "NumRetries": 2},
            }
        ],
    },
    {
        "Kind": "service-intentions",
        "Name": "api",
        "Sources": [
            {
                "Name": "web",
                "Permissions": [
                    {
                        "Action": "deny",
                        "HTTP": {"Header": [{"Name": "x-canary", "Exact": "1"}]},
                    },
                    {"Action": "allow", "HTTP": {"PathPrefix": "/"}},
                ],
            }
        ],
    },
    {"Kind": "service-intentions", "Name": "spare", "Sources": [{"Name": "*", "Action": "deny"}]},
)


async def prepare(client: Client) -> None:
    for body in ENTRIES:
        got = await client.put("/v1/config", body)
        assert got.json is True, got.text
    for number, version in enumerate(("1", "1", "2"), start=1):
        service = {
            "Kind": "connect-proxy", "ID": f"api-{number}", "Service": "api-proxy", "Port": 80,
            "Meta": {"version": version}, "Proxy": {"DestinationServiceName": "api"},
        }  # fmt: skip
        states = {"1": "passing", "2": "critical", "3": "warning"}
        check = {
            "CheckID": f"c{number}",
            "Status": states[str(number)],
            "ServiceID": f"api-{number}",
        }
        body = {
            "Node": f"n{number}",
            "Address": f"10.0.0.{number}",
            "Service": service,
            "Check": check,
        }
        assert (await client.put("/v1/catalog/register", body)).json is True


async def told(rig: Rig, *, allow: bool = True, **query: str) -> Any:
    intention = intention_explainer(rig.backend, default_allow=allow)
    explain = route_explainer(rig.backend, intention, "dc1", subset_filter)
    return await explain(["web", "api"], query)


async def test_splits_hosts_and_intentions_stand_in_one_answer(rig: Rig) -> None:
    async with Client(rig.port) as client:
        await prepare(client)
    found = await told(rig, path="/x//y?q=1")
    assert found["Request"] == {"Method": "GET", "Path": "/x/y"} and found["Protocol"] == "http"
    first, second = found["Ways"]
    assert (first["Percent"], second["Percent"]) == (75.0, 25.0)
    assert first["Routes"][0]["Why"] == ["path /x/y is not prefix /old"]
    # Of three instances two are of the subset and one of those is critical.
    assert first["Serves"] == first["Target"] == "v1.api.default.dc1"
    group, spare = first["Groups"]
    assert [each["ID"] for each in group["Instances"]] == ["api-1"]
    assert group["Why"].startswith("3 registered, 1 not of the subset, 1 critical")
    assert spare["Hosts"] == 0 and spare["Why"].startswith("no instance")
    # What the split puts into the request is what the other side decides about.
    assert first["Intention"]["Allowed"] and not second["Intention"]["Allowed"]
    assert second["Headers"] == [{"Remove": [], "Set": {"x-canary": "1"}, "Add": {}}]
    assert not found["Allowed"] and found["PercentOfOtherWays"] == 0.0


async def test_a_route_leads_elsewhere_with_another_path(rig: Rig) -> None:
    async with Client(rig.port) as client:
        await prepare(client)
    (way,) = (await told(rig, path="/old/1"))["Ways"]
    assert (way["Service"], way["Path"], way["Retries"]) == ("spare", "/new/1", 2)
    (tried,) = way["Routes"]
    assert (tried["Route"], tried["Matches"], tried["Why"]) == (0, True, [])
    assert way["Serves"].startswith("nobody") and not way["Intention"]["Allowed"]


async def test_a_gateway_that_stands_for_a_service_is_among_its_hosts(rig: Rig) -> None:
    async with Client(rig.port) as client:
        await prepare(client)
        entry = {"Kind": "terminating-gateway", "Name": "gate", "Services": [{"Name": "spare"}]}
        assert (await client.put("/v1/config", entry)).json is True
        gate = {"Kind": "terminating-gateway", "ID": "gate", "Service": "gate", "Port": 8443}
        body = {"Node": "edge", "Address": "10.0.0.9", "Service": gate}
        assert (await client.put("/v1/catalog/register", body)).json is True
    (way,) = (await told(rig, path="/old/1"))["Ways"]
    (group,) = way["Groups"]
    assert way["Serves"] == group["Target"] and group["Why"].startswith("not in the mesh: 1 ")
    assert [each["Address"] for each in group["Instances"]] == ["10.0.0.9"]


async def test_connections_have_no_path(rig: Rig) -> None:
    intention = intention_explainer(rig.backend, default_allow=False)
    explain = route_explainer(rig.backend, intention, "dc1", subset_filter)
    found = await explain(["web", "db"], {})
    (way,) = found["Ways"]
    assert found["Protocol"] == "tcp" and "Path" not in way and "Request" not in found
    assert not found["Allowed"] and way["Percent"] == 100.0


async def test_bad_questions_are_refused(rig: Rig, client: Client) -> None:
    await prepare(client)
    refused = await told(rig, path="/a%2")
    assert not refused["Allowed"] and refused["Refused"].startswith("400: ")
    intention = intention_explainer(rig.backend)
    explain = route_explainer(rig.backend, intention, "dc1", subset_filter)
    with pytest.raises(RequestError, match="'destination' not set"):
        await explain(["web"], {})
