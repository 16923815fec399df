"""Auth methods over HTTP: their life, and what is wrong with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.agent.http.acl_rig import Manager, managed
from tests.agent.login.tokens import RSA_KEY, pem, sign
from tests.certificates import TestCA

CONFIG = {"JWTValidationPubKeys": [pem(RSA_KEY)], "ClaimMappings": {"svc": "svc"}}
METHOD = {"Name": "m", "Type": "jwt", "Config": CONFIG}


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    async with managed() as found:
        yield found


async def test_a_method_is_written_read_listed_and_deleted(manager: Manager) -> None:
    given = METHOD | {"DisplayName": "M", "Description": "d", "MaxTokenTTL": "5m"}
    made = await manager.make("PUT", "/v1/acl/auth-method", given)
    assert made == {
        "Name": "m", "Type": "jwt", "DisplayName": "M", "Description": "d", "MaxTokenTTL": "5m0s",
        "Config": CONFIG, "CreateIndex": made["CreateIndex"], "ModifyIndex": made["ModifyIndex"],
    }  # fmt: skip
    got = await manager.ask("GET", "/v1/acl/auth-method/m")
    assert got.json == made and "x-consul-index" in got.headers
    update = {"Type": "jwt", "Config": CONFIG, "TokenLocality": "global", "MaxTokenTTL": 9 * 10**10}
    changed = await manager.make("PUT", "/v1/acl/auth-method/m", update)
    assert (changed["TokenLocality"], changed["MaxTokenTTL"]) == ("global", "1m30s")
    assert "Description" not in changed and changed["CreateIndex"] == made["CreateIndex"]
    listed = (await manager.ask("GET", "/v1/acl/auth-methods")).json
    assert [each["Name"] for each in listed] == ["m"] and "Config" not in listed[0]
    for _ in range(2):
        assert (await manager.ask("DELETE", "/v1/acl/auth-method/m")).json is True
    got = await manager.ask("GET", "/v1/acl/auth-method/m")
    assert (got.status, got.body) == (404, b"")
    assert (await manager.ask("GET", "/v1/acl/auth-methods")).json == []


@pytest.mark.parametrize(
    ("path", "value", "status", "text"),
    [
        ("", b"{", 400, "Bad request: AuthMethod decoding failed: unexpected EOF"),
        ("", {"Bogus": 1}, 400, 'Bad request: AuthMethod decoding failed: json: unknown field'),
        ("", {"Type": "jwt"}, 500, "Invalid Auth Method: no Name is set"),
        ("", {"Name": "a b"}, 500, "Invalid Auth Method: invalid Name. Only alphanumeric"),
        ("", {"Name": "x", "Type": "bogus"}, 500,
         "Invalid Auth Method: Type should be one of: [jwt kubernetes]"),
        ("", {"Name": "x", "Type": "jwt"}, 500,
         "Invalid Auth Method: exactly one of 'JWTValidationPubKeys', 'JWKSURL', or"),
        ("", METHOD | {"MaxTokenTTL": "1s"}, 500, "MaxTokenTTL 1s cannot be less than 1m0s"),
        ("", METHOD | {"MaxTokenTTL": "25h"}, 500, "MaxTokenTTL 25h0m0s cannot be more than 24h"),
        ("", METHOD | {"TokenLocality": "x"}, 500,
         "Invalid Auth Method: TokenLocality should be one of 'local' or 'global'"),
        ("/m", METHOD | {"Name": "n"}, 400,
         "Bad request: Auth Method Name in URL and payload do not match"),
        ("/", METHOD, 400, "Bad request: Missing auth method name"),
        ("/m", {"Type": "kubernetes"}, 500, "Changing an auth method's type is not permitted"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told(
    manager: Manager, path: str, value: Any, status: int, text: str
) -> None:
    await manager.make("PUT", "/v1/acl/auth-method", METHOD)
    got = await manager.ask("PUT", f"/v1/acl/auth-method{path}", value)
    assert got.status == status and got.text.startswith(text), got.text
    assert len((await manager.ask("GET", "/v1/acl/auth-methods")).json) == 1


async def test_secrets_of_a_method_are_for_those_who_may_write(
    manager: Manager, tmp_path: Any
) -> None:
    own = sign({"very": "secret"})
    config = {"Host": "https://h", "CACert": TestCA(tmp_path).file.read_text(),
              "ServiceAccountJWT": own}  # fmt: skip
    method = {"Name": "k", "Type": "kubernetes", "Config": config}
    await manager.make("PUT", "/v1/acl/auth-method", method)
    rules = {"Name": "reader", "Rules": 'acl = "read"\noperator = "read"'}
    await manager.make("PUT", "/v1/acl/policy", rules)
    reader = await manager.make("PUT", "/v1/acl/token", {"Policies": [{"Name": "reader"}]})
    for token, shown in (
        (reader["SecretID"], False),
        ("aaaaaaaa-0000-4000-8000-00000000d00d", True),
    ):
        got = await manager.ask("GET", "/v1/acl/auth-method/k", token=token)
        assert (own in got.text) is shown, got.text
    history = await manager.ask("GET", "/v1/history?table=acl-auth-methods")
    assert history.status == 200 and "kubernetes" in history.text and own not in history.text


async def test_who_may_not_is_denied(manager: Manager) -> None:
    for method, path in (("GET", "s"), ("GET", "/m"), ("PUT", ""), ("PUT", "/m"), ("DELETE", "/m")):
        got = await manager.ask(method, f"/v1/acl/auth-method{path}", METHOD, token="")
        assert (got.status, got.text) == (403, "Permission denied"), (method, path)
