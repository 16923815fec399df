"""Binding rules over HTTP: their life, and what is wrong with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.agent.http.acl_rig import Manager, managed
from tests.agent.http.test_acl_methods import METHOD

RULE = {"AuthMethod": "m", "BindType": "service", "BindName": "s-${value.svc}", "Selector": "x =="}
NOBODY = "11111111-0000-4000-8000-000000000000"


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    async with managed() as found:
        await found.make("PUT", "/v1/acl/auth-method", METHOD)
        await found.make("PUT", "/v1/acl/auth-method", METHOD | {"Name": "n"})
        yield found


async def test_a_rule_is_written_read_listed_and_deleted(manager: Manager) -> None:
    made = await manager.make("PUT", "/v1/acl/binding-rule", RULE)
    assert made == {
        "ID": made["ID"], "Description": "", **RULE,
        "CreateIndex": made["CreateIndex"], "ModifyIndex": made["ModifyIndex"],
    }  # fmt: skip
    path = f"/v1/acl/binding-rule/{made['ID']}"
    assert (await manager.ask("GET", path)).json == made
    update = {"BindType": "templated-policy", "BindName": "builtin/service",
              "BindVars": {"name": "${value.svc}"}}  # fmt: skip
    changed = await manager.make("PUT", path, update)
    assert changed["AuthMethod"] == "m" and changed["BindVars"] == {"name": "${value.svc}"}
    other = await manager.make("PUT", "/v1/acl/binding-rule", RULE | {"AuthMethod": "n"})
    for query, ids in (
        ("", {made["ID"], other["ID"]}),
        ("?authmethod=n", {other["ID"]}),
        ("?authmethod=none", set()),
    ):
        got = await manager.ask("GET", f"/v1/acl/binding-rules{query}")
        assert {each["ID"] for each in got.json} == ids
    for _ in range(2):
        assert (await manager.ask("DELETE", path)).json is True
    assert (await manager.ask("GET", path)).status == 404
    await manager.ask("DELETE", "/v1/acl/auth-method/n")
    assert (await manager.ask("GET", "/v1/acl/binding-rules")).json == []


@pytest.mark.parametrize(
    ("path", "value", "status", "text"),
    [
        ("", b"x", 400, "Bad request: BindingRule decoding failed: invalid character 'x'"),
        ("", {}, 500, "Invalid Binding Rule: no AuthMethod is set"),
        ("", RULE | {"AuthMethod": "none"}, 500, 'cannot find auth method with name "none"'),
        ("", {"AuthMethod": "m"}, 500, "Invalid Binding Rule: no BindType is set"),
        ("", {"AuthMethod": "m", "BindType": "service"}, 500,
         "Invalid Binding Rule: no BindName is set"),
        ("", RULE | {"BindType": "x"}, 500, 'Invalid Binding Rule: unknown BindType "x"'),
        ("", RULE | {"BindName": "${value.x}"}, 500,
         "Invalid Binding Rule: invalid BindName: unknown variable accessed: value.x"),
        ("", RULE | {"BindName": "a b"}, 500, "Invalid Binding Rule: invalid BindName"),
        ("", RULE | {"BindVars": {"name": "x"}}, 500,
         "Invalid Binding Rule: BindVars cannot be set when"),
        ("", RULE | {"ID": NOBODY}, 500, f"cannot find binding rule {NOBODY}"),
        (f"/{NOBODY}", RULE, 500, f"cannot find binding rule {NOBODY}"),
        (f"/{NOBODY}", RULE | {"ID": "other"}, 400,
         "Bad request: Binding Rule ID in URL and payload do not match"),
        ("/", RULE, 400, "Bad request: Missing binding rule ID"),
        ("/x", RULE, 500, "failed acl binding rule lookup: index error: UUID must be 36"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told(
    manager: Manager, path: str, value: Any, status: int, text: str
) -> None:
    got = await manager.ask("PUT", f"/v1/acl/binding-rule{path}", value)
    assert got.status == status and got.text.startswith(text), got.text
    assert (await manager.ask("GET", "/v1/acl/binding-rules")).json == []


async def test_a_rule_stays_with_its_method(manager: Manager) -> None:
    made = await manager.make("PUT", "/v1/acl/binding-rule", RULE)
    path = f"/v1/acl/binding-rule/{made['ID']}"
    got = await manager.ask("PUT", path, RULE | {"AuthMethod": "n"})
    assert got.text == "the AuthMethod field of an Binding Rule is immutable"


async def test_who_may_not_is_denied(manager: Manager) -> None:
    for method, path in (
        ("GET", "s"),
        ("GET", f"/{NOBODY}"),
        ("PUT", ""),
        ("DELETE", f"/{NOBODY}"),
    ):
        got = await manager.ask(method, f"/v1/acl/binding-rule{path}", RULE, token="")
        assert (got.status, got.text) == (403, "Permission denied"), (method, path)
