"""`/v1/config` and `/v1/discovery-chain` beyond the recordings."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.agent.http.rig import Client, Rig

HTTP = {"Kind": "proxy-defaults", "Config": {"protocol": "http"}}


async def write(client: Client, body: dict[str, Any]) -> None:
    got = await client.put("/v1/config", body)
    assert got.json is True, got.text


@pytest.mark.parametrize(
    ("body", "status", "why", "text"),
    [
        ({"Kind": "service-resolver", "Nope": 1}, 400, "decode", "Bad request: Request decoding"),
        ({"Kind": "service-resolver"}, 500, "validation", "Name is required"),
        (
            {"Kind": "service-splitter", "Name": "a", "Splits": [{"Weight": 100}]},
            500,
            "graph",
            'discovery chain "a" uses a protocol "tcp"',
        ),
        (
            {"Kind": "service-resolver", "Name": "a", "Subsets": {"v1": {"Filter": "nonsense ("}}},
            500,
            "validation",
            'Subset "v1" has an invalid filter: ',
        ),
        (
            {
                "Kind": "service-router",
                "Name": "a",
                "Routes": [{"Match": {"HTTP": {"PathRegex": "(?=x)"}}}],
            },
            500,
            "validation",
            "invalid regular expression",
        ),
    ],
    ids=["decode", "name", "graph", "filter", "regex"],
)
async def test_a_refusal_says_what_was_wrong(
    client: Client, body: dict[str, Any], status: int, why: str, text: str
) -> None:
    got = await client.put("/v1/config", body)
    assert got.status == status and got.text.startswith(text)
    assert got.headers["x-lictor-error"] == why


def pair(size: int = 2048) -> tuple[str, str]:
    """A certificate and its key, in PEM."""
    key = rsa.generate_private_key(65537, size)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(key.public_key()).serial_number(1)
    now = datetime.now(UTC)
    made = made.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    shown = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM).decode(), shown.decode()


async def test_a_certificate_is_taken_with_its_key_and_history_keeps_only_one(
    client: Client,
) -> None:
    certificate, key = pair()
    body = {"Kind": "inline-certificate", "Name": "c", "Certificate": certificate}
    await write(client, {**body, "PrivateKey": key})
    got = await client.get("/v1/config/inline-certificate/c")
    assert (got.json["Certificate"], got.json["PrivateKey"]) == (certificate, key)
    told = (await client.get("/v1/history")).text
    assert "inline-certificate" in told and key.splitlines()[1] not in told
    for other, words in (
        (pair()[1], "private key does not match the certificate"),
        (pair(1024)[1], "key length must be at least 2048 bits"),
    ):
        refused = await client.put("/v1/config", {**body, "PrivateKey": other})
        assert (refused.status, refused.headers["x-lictor-error"]) == (500, "validation")
        assert words in refused.text and other.splitlines()[1] not in refused.text


async def test_listings_are_filtered_and_deletes_compared(client: Client) -> None:
    for name, protocol in (("a", "http"), ("b", "grpc")):
        await write(client, {"Kind": "service-defaults", "Name": name, "Protocol": protocol})
    got = await client.get('/v1/config/service-defaults?filter=Protocol%20==%20"grpc"')
    assert [entry["Name"] for entry in got.json] == ["b"]
    assert [entry["Name"] for entry in (await client.get("/v1/config/")).json] == ["a", "b"]
    index = got.json[0]["ModifyIndex"]
    path = "/v1/config/service-defaults/B"
    assert (await client.ask("DELETE", f"{path}?cas=1")).json is False
    assert (await client.ask("DELETE", f"{path}?cas={index}")).json is True
    assert (await client.get(path)).status == 404
    nameless = await client.ask("DELETE", "/v1/config/service-defaults")
    assert (nameless.status, nameless.text) == (404, "Must provide both a kind and name to delete")


async def test_an_entry_is_waited_for(rig: Rig, client: Client) -> None:
    await write(client, {"Kind": "service-defaults", "Name": "a", "Protocol": "http"})
    index = (await client.get("/v1/discovery-chain/a")).headers["x-consul-index"]
    async with Client(rig.port) as waiting:
        await waiting.send("GET", f"/v1/discovery-chain/a?index={index}&wait=20s")
        await write(client, {"Kind": "service-defaults", "Name": "other", "Protocol": "http"})
        await write(client, {"Kind": "service-resolver", "Name": "a", "ConnectTimeout": "2s"})
        found = (await asyncio.wait_for(waiting.receive(), 15)).json["Chain"]
    assert found["Targets"]["a.default.dc1"]["ConnectTimeout"] == "2s"


async def test_a_prefix_without_its_slash_is_told(client: Client) -> None:
    await write(client, HTTP)
    body = {
        "Kind": "service-router",
        "Name": "a",
        "Routes": [{"Match": {"HTTP": {"PathPrefix": "/admin"}}}],
    }
    got = await client.put("/v1/config", body)
    assert 'PathPrefix "/admin" also matches' in got.headers["x-lictor-warning"]


async def test_a_chain_in_the_newer_form(client: Client) -> None:
    await write(client, HTTP)
    await write(
        client,
        {
            "Kind": "service-splitter",
            "Name": "a",
            "Splits": [{"Weight": 50}, {"Weight": 50, "Service": "b"}],
        },
    )
    chain = (await client.get("/v1/discovery-chain/a?version=2")).json["Chain"]
    assert (chain["Partition"], chain["StartNode"]) == ("default", "splitter:a.default.default")
    steps = [split["NextNode"] for split in chain["Nodes"]["splitter:a.default.default"]["Splits"]]
    assert steps == ["resolver:a.default.default.dc1", "resolver:b.default.default.dc1"]
    assert set(chain["Targets"]) == {"a.default.default.dc1", "b.default.default.dc1"}
    assert not chain["Default"]


def instance(name: str, kind: str = "") -> dict[str, Any]:
    service = {"Service": name, "ID": name, "Port": 80, "Kind": kind}
    return {"Node": "n1", "Address": "127.0.0.1", "Service": service}


async def test_services_behind_gateways(client: Client) -> None:
    for name, kind in (("web", ""), ("api", ""), ("gw", "ingress-gateway")):
        got = await client.put("/v1/catalog/register", instance(name, kind))
        assert got.status == 200, got.text
    await write(client, {"Kind": "service-defaults", "Name": "web", "Protocol": "http"})
    await write(
        client,
        {
            "Kind": "ingress-gateway",
            "Name": "gw",
            "Listeners": [{"Port": 80, "Protocol": "http", "Services": [{"Name": "*"}]}],
        },
    )
    found = (await client.get("/v1/catalog/gateway-services/gw")).json
    assert [(one["Service"]["Name"], one["FromWildcard"]) for one in found] == [("web", True)]
    for service, gateways in (("web", ["gw"]), ("api", [])):
        shown = (await client.get(f"/v1/health/ingress/{service}")).json
        assert [entry["Service"]["Service"] for entry in shown] == gateways
    assert (await client.get("/v1/catalog/gateway-services/none")).json is None


async def test_intentions_are_one_object_behind_all_doors(client: Client) -> None:
    await write(client, {"Kind": "service-defaults", "Name": "web", "Protocol": "http"})
    permissions = [{"Action": "audit", "HTTP": {"PathPrefix": "/x", "Methods": ["get"]}}]
    exact = "/v1/connect/intentions/exact?source=api&destination=web"
    assert (await client.put(exact, {"Permissions": permissions})).json is True
    entry = (await client.get("/v1/config/service-intentions/web")).json
    assert entry["Sources"][0]["Permissions"][0]["HTTP"]["Methods"] == ["GET"]
    got = await client.ask("DELETE", "/v1/config/service-defaults/web")
    assert got.status == 500 and "incompatible with L7 intentions" in got.text
    body = {
        "Kind": "service-intentions",
        "Name": "web",
        "Sources": [{"Name": "api", "Action": "deny"}],
    }
    await write(client, body)
    assert (await client.get(exact)).json["Action"] == "deny"
    got = await client.put(
        exact.replace("destination=web", "destination=tcp"), {"Permissions": permissions}
    )
    assert got.status == 500 and 'service "tcp" has protocol "tcp"' in got.text


async def test_a_plan_says_what_would_be_and_does_nothing(client: Client) -> None:
    await write(client, HTTP)
    body = {"Kind": "service-splitter", "Name": "a", "Splits": [{"Weight": 100, "Service": "b"}]}
    plan = (await client.put("/v1/config?plan", body)).json
    assert (plan["Action"], plan["Chains"], plan["Before"]) == ("create", ["a"], None)
    assert (await client.get("/v1/config/service-splitter/a")).status == 404
    await write(client, body)
    plan = (await client.put("/v1/config?plan=delete", body)).json
    assert (plan["Action"], plan["Chains"]) == ("delete", ["a"])
    tcp = {"Kind": "proxy-defaults", "Config": {"protocol": "tcp"}}
    plan = (await client.put("/v1/config?plan", tcp)).json
    assert plan["Action"] == "" and 'discovery chain "a"' in plan["Refused"]
    assert (await client.get("/v1/config/proxy-defaults/global")).json["Config"] == HTTP["Config"]
