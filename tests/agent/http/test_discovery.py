"""Instances as targets for Prometheus."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agent.http.rig import Client


async def register(client: Client, node: str, name: str, status: str, **service: Any) -> None:
    body = {
        "Node": node,
        "Address": "10.0.0.1",
        "NodeMeta": {"rack-id": node},
        "TaggedAddresses": {"wan": "1.2.3.4"},
        "Service": {"Service": name, "Port": 9100} | service,
        "Check": {"CheckID": f"c-{name}", "Status": status, "ServiceID": service.get("ID", name)},
    }
    assert (await client.put("/v1/catalog/register", body)).json is True


@pytest.fixture
async def catalog(client: Client) -> None:
    meta = {"team": "a"}
    await register(client, "n2", "web", "passing", Tags=["blue", "v1"], Meta=meta)
    await register(client, "n3", "web", "critical", Address="fd00::7")
    await register(client, "n3", "db", "passing", Tags=["blue"])


async def targets(client: Client, query: str = "") -> list[str]:
    got = await client.get(f"/v1/discovery/prometheus{query}")
    assert got.status == 200, got.text
    return [
        f"{each['labels']['__meta_consul_service']}@{each['labels']['__meta_consul_node']}"
        for each in got.json
    ]


async def test_an_instance_has_the_labels_of_consul_sd(catalog: None, client: Client) -> None:
    got = await client.get("/v1/discovery/prometheus?service=web")
    assert got.headers["content-type"] == "application/json"
    first, second = got.json
    assert first == {
        "targets": ["10.0.0.1:9100"],
        "labels": {
            "__meta_consul_address": "10.0.0.1",
            "__meta_consul_dc": "dc1",
            "__meta_consul_health": "passing",
            "__meta_consul_node": "n2",
            "__meta_consul_service": "web",
            "__meta_consul_service_address": "",
            "__meta_consul_service_id": "web",
            "__meta_consul_service_port": "9100",
            "__meta_consul_tags": ",blue,v1,",
            "__meta_consul_metadata_rack_id": "n2",
            "__meta_consul_service_metadata_team": "a",
            "__meta_consul_tagged_address_wan": "1.2.3.4",
        },
    }
    assert (second["targets"], second["labels"]["__meta_consul_health"]) == (
        ["[fd00::7]:9100"],
        "critical",
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["web@n2", "db@n3", "web@n3"]),
        ("?passing", ["web@n2", "db@n3"]),
        ("?passing=false&tag=BLUE", ["web@n2", "db@n3"]),
        ("?tag=blue&tag=v1", ["web@n2"]),
        ("?node-meta=rack-id:n3", ["db@n3", "web@n3"]),
        ("?service=db&service=web", ["db@n3", "web@n2", "web@n3"]),
        ('?filter=Service.Meta.team=="a"', ["web@n2"]),
        ("?service=none", []),
    ],
)
async def test_what_is_wanted_is_chosen_as_in_health(
    catalog: None, client: Client, query: str, found: list[str]
) -> None:
    assert await targets(client, query) == found


async def test_bad_wishes_are_refused(client: Client) -> None:
    got = await client.get("/v1/discovery/prometheus?passing=zz")
    assert (got.status, got.text) == (400, "Invalid value for ?passing")
    many = "&".join(f"service=s{number}" for number in range(300))
    assert (await client.get(f"/v1/discovery/prometheus?{many}")).status == 400
    assert (await client.get("/v1/discovery/prometheus?filter=(")).status == 500
