"""Logins and logouts over HTTP: real keys, real tokens, and the ways in that there are not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.agent.http.acl_rig import MANAGEMENT, Manager, managed
from tests.agent.login.tokens import EC_KEY, RSA_KEY, pem, sign

CONFIG = {
    "JWTValidationPubKeys": [pem(RSA_KEY)],
    "BoundIssuer": "i",
    "BoundAudiences": ["a"],
    "ClaimMappings": {"svc": "svc"},
    "ListClaimMappings": {"groups": "groups"},
}


def bearer(**claims: Any) -> str:
    now = time.time()
    return sign({"iss": "i", "aud": "a", "iat": now, "exp": now + 60, "svc": "web"} | claims)


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    async with managed() as found:
        method = {"Name": "m", "Type": "jwt", "Config": CONFIG, "MaxTokenTTL": "5m"}
        await found.make("PUT", "/v1/acl/auth-method", method)
        yield found


async def bind(manager: Manager, type: str, name: str, selector: str = "", **more: Any) -> None:
    rule = {"AuthMethod": "m", "BindType": type, "BindName": name, "Selector": selector, **more}
    await manager.make("PUT", "/v1/acl/binding-rule", rule)


async def login(manager: Manager, token: str, **more: Any) -> Any:
    asked = {"AuthMethod": "m", "BearerToken": token, **more}
    return await manager.ask("POST", "/v1/acl/login", asked, token="")


async def test_a_login_gives_what_the_rules_bind(manager: Manager) -> None:
    await manager.make("PUT", "/v1/acl/role", {"Name": "ops"})
    await manager.make("PUT", "/v1/acl/policy", {"Name": "p"})
    await bind(manager, "service", "svc-${value.svc}")
    await bind(manager, "node", "n-${value.svc}")
    await bind(manager, "role", "ops", "ops in list.groups")
    await bind(manager, "role", "gone", "ops in list.groups")
    await bind(manager, "policy", "p")
    await bind(manager, "service", "never", "value.svc == db")
    await bind(manager, "templated-policy", "builtin/service", BindVars={"name": "t-${value.svc}"})
    got = await login(manager, bearer(groups=["ops"]), Meta={"k": "v", "a": "b"})
    assert got.status == 200, got.text
    token = got.json
    assert token["Description"] == 'token created via login: {"a":"b","k":"v"}'
    assert (token["Local"], token["AuthMethod"]) == (True, "m")
    assert token["ServiceIdentities"] == [{"ServiceName": "svc-web"}]
    assert token["NodeIdentities"] == [{"NodeName": "n-web", "Datacenter": "dc1"}]
    assert [each["Name"] for each in token["Roles"]] == ["ops"]
    assert [each["Name"] for each in token["Policies"]] == ["p"]
    assert token["TemplatedPolicies"] == [
        {"TemplateName": "builtin/service", "TemplateVariables": {"name": "t-web"}}
    ]
    assert "ExpirationTime" in token
    itself = await manager.ask("GET", "/v1/acl/token/self", token=token["SecretID"])
    assert itself.json == token
    allowed = await manager.ask(
        "PUT", "/v1/agent/service/register", {"Name": "svc-web"}, token=token["SecretID"]
    )
    assert allowed.status == 200
    history = await manager.ask("GET", "/v1/history?table=acl-tokens")
    change = history.json["Changes"][-1]
    assert change["Actor"]["AccessorID"] == token["AccessorID"]
    assert change["Actor"]["Address"].startswith("127.0.0.1:")


async def test_a_logout_ends_the_token_of_a_login_only(manager: Manager) -> None:
    await bind(manager, "service", "web")
    token = (await login(manager, bearer())).json["SecretID"]
    got = await manager.ask("POST", "/v1/acl/logout", token=token)
    assert (got.status, got.json) == (200, True)
    for secret, text in (
        (token, "ACL not found"),
        ("", "ACL not found"),
        ("rubbish", "ACL not found"),
        (MANAGEMENT, "Permission denied"),
    ):
        got = await manager.ask("POST", "/v1/acl/logout", token=secret)
        assert (got.status, got.text) == (403, text)
    assert (await manager.ask("GET", "/v1/acl/token/self")).status == 200


@pytest.mark.parametrize(
    ("token", "status", "text"),
    [
        (lambda: bearer(aud="other"), 500, "error validating claims: aud claim does not match"),
        (lambda: bearer(iss="other"), 500, "error validating claims: invalid issuer"),
        (lambda: bearer(exp=1), 500, "error validating claims: token is expired"),
        (lambda: bearer(svc={"a": 1}), 500, "error validating claims: error converting claim"),
        (lambda: "abc", 500, "error parsing token: compact JWS format must have three parts"),
        (lambda: "", 500, "error parsing token: "),
        (lambda: sign({}, key=EC_KEY, alg="ES256"), 500, "error parsing token: no known key"),
        (lambda: bearer(svc="!"), 500, 'computed "service" bind name for bind target is invalid'),
    ],
    ids=["audience", "issuer", "expired", "claim", "garbage", "nothing", "key", "name"],
)
async def test_other_tokens_give_nothing(
    manager: Manager, token: Any, status: int, text: str
) -> None:
    await bind(manager, "service", "${value.svc}")
    before = len((await manager.ask("GET", "/v1/acl/tokens")).json)
    got = await login(manager, token())
    assert got.status == status and got.text.startswith(text), got.text
    assert len((await manager.ask("GET", "/v1/acl/tokens")).json) == before


async def test_who_is_not_bound_or_not_known_is_denied(manager: Manager) -> None:
    got = await login(manager, bearer())
    assert (got.status, got.text) == (403, "Permission denied")
    got = await login(manager, bearer(), AuthMethod="none")
    assert (got.status, got.text) == (403, 'ACL not found: auth method "none" not found')
    got = await manager.ask("POST", "/v1/acl/login", b"{", token="")
    assert got.text == "Bad request: Failed to decode request body: unexpected EOF"
    got = await login(manager, bearer(), Meta={"k": "v" * 600})
    assert got.status == 400
    told = manager.rig.logins.explain()
    assert told["Outcomes"]["nothing bound"] == told["Outcomes"]["unknown method"] == 1
    assert told["Last"][0]["Outcome"] == "unknown method"
    assert told["Last"][1]["Identity"] == {"value.svc": "web", "list.groups": []}


async def test_a_method_that_goes_takes_its_tokens_with_it(manager: Manager) -> None:
    await bind(manager, "service", "web")
    token = (await login(manager, bearer())).json["SecretID"]
    await manager.ask("DELETE", "/v1/acl/auth-method/m")
    got = await manager.ask("GET", "/v1/acl/token/self", token=token)
    assert (got.status, got.text) == (403, "ACL not found")


async def test_a_browsers_login_says_what_is_missing(manager: Manager) -> None:
    given = {"AuthMethod": "m", "RedirectURI": "http://localhost/", "State": "s", "Code": "c"}
    for path, wanted in (
        ("auth-url", ("AuthMethod", "RedirectURI")),
        ("callback", ("AuthMethod", "State", "Code")),
    ):
        for name in wanted:
            body = {key: value for key, value in given.items() if key in wanted and key != name}
            got = await manager.ask("POST", f"/v1/acl/oidc/{path}", body)
            assert (got.status, got.text) == (400, f"Bad request: {name} is required")
