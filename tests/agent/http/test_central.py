"""`?merge-central-config`: what entries say of proxies, and who wins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agent.http.rig import Client

SIDECAR: dict[str, Any] = {
    "Service": "web-proxy",
    "Kind": "connect-proxy",
    "Port": 1,
    "Proxy": {"DestinationServiceName": "web", "Config": {"own": 1, "shared": "mine"}},
}


@pytest.fixture
async def configured(client: Client) -> None:
    for body in (
        {
            "Kind": "proxy-defaults",
            "Name": "global",
            "Config": {"protocol": "grpc", "shared": "all", "all": 2},
            "MeshGateway": {"Mode": "local"},
        },
        {"Kind": "service-defaults", "Name": "web", "Protocol": "http"},
    ):
        got = await client.put("/v1/config", body)
        assert got.json is True, got.text
    for service in (SIDECAR, {"Service": "web"}):
        given = {"Node": "a", "Address": "10.0.0.1", "Service": service}
        assert (await client.put("/v1/catalog/register", given)).json is True


@pytest.mark.parametrize(
    ("path", "take"),
    [
        ("/v1/health/service/web-proxy", lambda got: got[0]["Service"]["Proxy"]),
        ("/v1/health/connect/web", lambda got: got[0]["Service"]["Proxy"]),
        ("/v1/catalog/service/web-proxy", lambda got: got[0]["ServiceProxy"]),
        ("/v1/catalog/connect/web", lambda got: got[0]["ServiceProxy"]),
        ("/v1/catalog/node-services/a", lambda got: got["Services"][1]["Proxy"]),
    ],
)
async def test_entries_are_merged_where_that_is_asked_for(
    configured: None, client: Client, path: str, take: Any
) -> None:
    plain = take((await client.get(path)).json)
    assert (plain["Config"], plain["MeshGateway"]) == ({"own": 1, "shared": "mine"}, {})
    assert take((await client.get(f"{path}?merge-central-config=false")).json) == plain
    told = take((await client.get(f"{path}?merge-central-config")).json)
    assert told["Config"] == {"protocol": "http", "own": 1, "shared": "mine", "all": 2}
    assert told["MeshGateway"] == {"Mode": "local"}
    assert take((await client.get(path)).json) == plain


async def test_what_is_no_proxy_stays_as_it_is(configured: None, client: Client) -> None:
    path = "/v1/health/service/web"
    got = await client.get(f"{path}?merge-central-config")
    assert got.json == (await client.get(path)).json


async def test_names_of_services_can_be_filtered(client: Client) -> None:
    for node, name, tags in (("a", "web", ["x", "y"]), ("b", "web", ["z"]), ("b", "db", ["x"])):
        service = {"Service": name, "Tags": tags}
        await client.put("/v1/catalog/register", {"Node": node, "Address": "a", "Service": service})
    got = await client.get('/v1/catalog/services?filter="x"%20in%20ServiceTags')
    assert got.json == {"db": ["x"], "web": ["x", "y"]}
    assert (await client.get('/v1/catalog/services?filter=Node=="b"')).json == {
        "db": ["x"],
        "web": ["z"],
    }
    refused = await client.get("/v1/catalog/services?filter=Nope==1")
    assert (refused.status, refused.headers["x-consul-index"]) == (500, "1")


async def test_members_can_be_filtered(client: Client) -> None:
    for expression, count in (('Name=="n1"', 1), ("Status!=1", 0), ('Tags.role=="consul"', 1)):
        got = await client.get(f"/v1/agent/members?filter={expression}")
        assert len(got.json) == count
