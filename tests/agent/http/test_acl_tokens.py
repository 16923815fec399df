"""Tokens over HTTP, beyond the recordings (tests/golden/test_http_acl_replay.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.agent.http.acl_rig import Manager, managed

GIVEN = "00000000-DEAD-4000-8000-0000000000AB"


@pytest.fixture
async def manager() -> AsyncIterator[Manager]:
    async with managed() as found:
        yield found


async def test_an_accessor_is_shown_as_it_was_given_and_found_in_any_case(manager: Manager) -> None:
    made = await manager.make("PUT", "/v1/acl/token", {"AccessorID": GIVEN})
    assert made["AccessorID"] == GIVEN
    for spelled in (GIVEN, GIVEN.lower()):
        path = f"/v1/acl/token/{spelled}"
        assert (await manager.ask("GET", path)).json["AccessorID"] == GIVEN
        changed = await manager.make("PUT", path, {"Description": spelled})
        assert (changed["AccessorID"], changed["Description"]) == (GIVEN, spelled)
    listed = (await manager.ask("GET", "/v1/acl/tokens")).json
    assert [each["AccessorID"] for each in listed].count(GIVEN) == 1
    assert (await manager.ask("DELETE", f"/v1/acl/token/{GIVEN.lower()}")).json is True
    assert (await manager.ask("GET", f"/v1/acl/token/{GIVEN}")).status == 403


async def test_a_templates_variables_are_shown_as_consul_spells_them(manager: Manager) -> None:
    given = [{"TemplateName": "builtin/service", "TemplateVariables": {"Name": "api"}}]
    made = await manager.make("PUT", "/v1/acl/token", {"TemplatedPolicies": given})
    shown = [{"TemplateName": "builtin/service", "TemplateVariables": {"name": "api"}}]
    read = (await manager.ask("GET", f"/v1/acl/token/{made['AccessorID']}")).json
    assert made["TemplatedPolicies"] == read["TemplatedPolicies"] == shown
    again = await manager.make("PUT", "/v1/acl/token", {"TemplatedPolicies": shown})
    assert again["TemplatedPolicies"] == shown
