"""Why a token may do something, through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.acl.authorizer import Authorizer
from agent.acl.caller import Caller
from agent.acl.rules import parse_rules
from agent.config.schema import AclConfig, AclTokens
from agent.errors import RequestError
from agent.explain.acl import explain_access
from tests.agent.http.rig import Client, Rig, make_config

MANAGEMENT = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d21"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    tokens = AclTokens(initial_management=MANAGEMENT)
    acl = AclConfig(enabled=True, default_policy="deny", tokens=tokens)
    rig = await Rig(make_config(acl=acl)).start()
    async with Client(rig.port) as client:
        yield client
    await rig.stop()


def caller(rules: str) -> Caller:
    return Caller("accessor", Authorizer(parse_rules(rules, "p"), default_allow=False))


def test_the_rule_that_decides_and_those_outvoted_are_named() -> None:
    holder = caller(
        'key_prefix "" { policy = "write" } key_prefix "a/" { policy = "read" } '
        'key "a/b" { policy = "deny" }'
    )
    told: Any = explain_access(holder, ["key", "read", "a", "b"])
    assert told["Allowed"] is False
    assert told["Permission"] == 'key:read on "a/b"'
    assert told["Rule"] == 'key "a/b" = "deny" (policy p)'
    assert told["Outvoted"] == [
        'key_prefix "a/" = "read" (policy p)',
        'key_prefix "" = "write" (policy p)',
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing", "read"],
        ["key"],
        ["key", "own"],
        ["node", "list", "n"],
        ["operator", "read", "x"],
    ],
    ids="-".join,
)
def test_what_cannot_be_asked_is_refused(arguments: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        explain_access(caller(""), arguments)
    assert caught.value.status == 400


async def test_everybody_may_ask_about_the_own_token(client: Client) -> None:
    told = (await client.get("/v1/explain/acl/key/read/a/b")).json
    assert (told["Allowed"], told["Default"]) == (False, "deny")
    headers = {"X-Consul-Token": MANAGEMENT}
    told = (await client.get("/v1/explain/acl/operator/write", **headers)).json
    assert told["Allowed"] is True


async def test_another_token_is_explained_to_those_who_may_see_it(client: Client) -> None:
    path = "/v1/explain/acl/key/read/a?accessor=00000000-0000-0000-0000-000000000002"
    assert (await client.get(path)).status == 403
    headers = {"X-Consul-Token": MANAGEMENT}
    told = (await client.get(path, **headers)).json
    assert (told["AccessorID"][-1], told["Allowed"]) == ("2", False)


async def test_the_last_denials_are_told_with_their_reasons(client: Client) -> None:
    refused = await client.get("/v1/kv/secret/place")
    assert refused.status == 403
    reason = refused.headers["x-lictor-acl-reason"]
    assert reason == (
        'anonymous token lacks permission key:read on "secret/place": '
        "no rule matches; the default is deny"
    )
    headers = {"X-Consul-Token": MANAGEMENT}
    told = (await client.get("/v1/explain/acl", **headers)).json
    assert told["LastDenials"][-1] == reason
    assert (await client.get("/v1/explain/acl")).status == 403
