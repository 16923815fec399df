"""Certificates, authorisation, CA configuration and intentions that the recordings leave out."""

from __future__ import annotations

import json

import pytest

from tests.agent.http.rig import TRUST_DOMAIN, Client, Rig, make_config


def uri(service: str, domain: str = TRUST_DOMAIN) -> str:
    return f"spiffe://{domain}/ns/default/dc/dc1/svc/{service}"


async def authorize(client: Client, source: str) -> dict[str, object]:
    body = json.dumps({"Target": "db", "ClientCertURI": source}).encode()
    got = await client.ask("POST", "/v1/agent/connect/authorize", body)
    assert got.status == 200, got
    return dict(got.json)


async def test_a_certificate_of_another_mesh_is_denied_where_ours_is_allowed(
    client: Client,
) -> None:
    assert (await authorize(client, uri("web")))["Authorized"] is True
    foreign = await authorize(client, uri("web", "other.consul"))
    assert foreign["Authorized"] is False
    assert "Trust domain" in str(foreign["Reason"])


async def test_the_pem_bundle_holds_the_roots(client: Client) -> None:
    got = await client.get("/v1/connect/ca/roots?pem=true")
    assert got.headers["content-type"] == "application/pem-certificate-chain"
    assert got.text.startswith("-----BEGIN CERTIFICATE-----")


async def test_without_the_mesh_there_is_no_authority_to_ask() -> None:
    rig = await Rig(make_config(connect_enabled=False)).start()
    try:
        async with Client(rig.port) as client:
            for path in (
                "connect/ca/roots", "connect/ca/configuration", "agent/connect/ca/roots",
                "agent/connect/ca/leaf/web",
            ):  # fmt: skip
                got = await client.get(f"/v1/{path}")
                words = "Connect must be enabled in order to use this endpoint"
                assert (got.status, got.text) == (500, words), path
            for path in ("configuration", "csr", "intermediate", "rotate"):
                got = await client.put(f"/v1/connect/ca/{path}", {})
                assert (got.status, got.text) == (500, words), path
    finally:
        await rig.stop()


async def test_settings_of_the_ca_are_checked_and_kept(client: Client) -> None:
    path = "/v1/connect/ca/configuration"
    got = await client.put(path, {"Provider": "consul", "Config": {"LeafCertTTL": "30m"}})
    assert got.status == 500 and "leaf cert TTL must be greater" in got.text
    got = await client.put(path, {"Provider": "consul", "Config": {"LeafCertTTL": "24h"}})
    assert (got.status, got.body) == (200, b"")
    assert (await client.get(path)).json["Config"]["LeafCertTTL"] == "24h"


@pytest.mark.parametrize(
    ("query", "body", "text"),
    [
        ("source=a*&destination=b", {"Action": "allow"}, "Sources[0].Name: wildcard"),
        ("source=a&destination=b*", {"Action": "allow"}, "Name: wildcard"),
        ("source=a&destination=b", {"Action": "perhaps"}, "Sources[0].Action must be set"),
        (
            "source=a&destination=b",
            {"Action": "allow", "Description": "x" * 513},
            "Sources[0].Description exceeds maximum length 512",
        ),
        (
            "source=a&destination=*",
            {"Permissions": [{"Action": "allow"}]},
            "Sources[0].Permissions cannot be specified on intentions with wildcarded",
        ),
    ],
)
async def test_bad_intentions_are_refused(
    client: Client, query: str, body: dict[str, object], text: str
) -> None:
    got = await client.put(f"/v1/connect/intentions/exact?{query}", body)
    assert got.status == 500 and got.text.startswith(text)
    assert (await client.get("/v1/connect/intentions")).json == []


async def test_what_an_unknown_id_gets(client: Client) -> None:
    path = "/v1/connect/intentions/11111111-2222-3333-4444-555555555555"
    assert (await client.get(path)).status == 404
    assert (await client.put(path, {"Action": "allow"})).status == 404
    deleted = await client.ask("DELETE", path)
    assert (deleted.status, deleted.text.split(":")[0]) == (
        500,
        "Cannot delete non-existent intention",
    )


async def test_a_decision_can_be_explained_when_an_explainer_is_there(client: Client) -> None:
    got = await client.get("/v1/explain/nothing/a/b")
    assert got.status == 404 and "Cannot explain" in got.text
