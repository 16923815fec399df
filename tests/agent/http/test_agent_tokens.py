"""Tokens that the agent uses itself, set over HTTP and kept over a restart."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from agent.acl.agent_tokens import AgentTokens
from agent.config.schema import AclConfig, AclTokens
from agent.errors import ConfigError
from agent.local import token_file
from tests.agent.http.acl_rig import MANAGEMENT, managed
from tests.agent.http.rig import Client

SECRET = "5ec2e700-0000-4000-8000-000000000001"


async def test_a_default_token_counts_for_requests_without_one() -> None:
    async with managed() as manager:
        assert (await manager.ask("GET", "/v1/kv/a", token="")).status == 403
        for name, status in (("default", 404), ("acl_token", 404)):
            got = await manager.ask("PUT", f"/v1/agent/token/{name}", {"Token": MANAGEMENT})
            assert (got.status, got.body) == (200, b"")
            assert (await manager.ask("GET", "/v1/kv/a", token="")).status == status
            await manager.ask("PUT", f"/v1/agent/token/{name}", {"Token": ""})
            assert (await manager.ask("GET", "/v1/kv/a", token="")).status == 403


@pytest.mark.parametrize(
    ("path", "value", "status", "text"),
    [
        ("bogus", {"Token": "x"}, 404, 'Token "bogus" is unknown'),
        ("agent", b"{", 400, "Request decode failed: unexpected EOF"),
        ("agent", {"Token": 7}, 400, "Request decode failed: json: cannot unmarshal number"),
        ("agent", {"Token": "x" * 600}, 400, "A token has 512 characters at most"),
    ],
)
async def test_what_is_wrong_is_told(path: str, value: Any, status: int, text: str) -> None:
    async with managed() as manager:
        got = await manager.ask("PUT", f"/v1/agent/token/{path}", value)
        assert got.status == status and got.text.startswith(text), got.text


async def test_it_takes_the_right_to_operate_the_agent(client: Client) -> None:
    got = await client.put("/v1/agent/token/agent", {"Token": "x"})
    assert (got.status, got.text) == (401, "ACL support disabled")
    async with managed() as manager:
        got = await manager.ask("PUT", "/v1/agent/token/agent", {"Token": "x"}, token="")
        assert (got.status, got.text) == (403, "Permission denied")


async def test_tokens_are_kept_where_that_is_wanted(tmp_path: Path) -> None:
    acl = AclConfig(
        enabled=True,
        default_policy="deny",
        enable_token_persistence=True,
        tokens=AclTokens(initial_management=MANAGEMENT, agent="configured"),
    )
    async with managed(acl=acl, data_dir=str(tmp_path)) as manager:
        for name in ("agent", "agent_master"):
            await manager.ask("PUT", f"/v1/agent/token/{name}", {"Token": SECRET})
    path = tmp_path / token_file.FILE
    assert json.loads(path.read_text()) == {"agent": SECRET, "agent_recovery": SECRET}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = AgentTokens(acl.tokens, token_file.load(str(tmp_path)))
    assert (kept.agent, kept.recovery) == (SECRET, SECRET)
    kept.reload(AclTokens(agent="another", default="d"))
    assert (kept.agent, kept.default) == (SECRET, "d")


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


async def test_nothing_is_kept_where_it_is_not(tmp_path: Path) -> None:
    async with managed(data_dir=str(tmp_path)) as manager:
        await manager.ask("PUT", "/v1/agent/token/agent", {"Token": SECRET})
    assert names(tmp_path) == []


async def test_a_disk_that_does_not_take_it_is_told(tmp_path: Path) -> None:
    acl = AclConfig(
        enabled=True, enable_token_persistence=True, tokens=AclTokens(initial_management=MANAGEMENT)
    )
    async with managed(acl=acl, data_dir=str(tmp_path / "none")) as manager:
        got = await manager.ask("PUT", "/v1/agent/token/agent", {"Token": SECRET})
        assert got.status == 500 and "will not be after a restart" in got.text
        assert SECRET not in got.text


@pytest.mark.parametrize("content", ["{", "[]", "[" * 20_000])
def test_a_broken_file_stops_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / token_file.FILE).write_text(content)
    with pytest.raises(ConfigError, match=r"acl-tokens\.json: it "):
        token_file.load(str(tmp_path))


def test_consuls_own_file_is_read(tmp_path: Path) -> None:
    text = '{"default": "d", "agent_master": "r", "other": "x", "agent": 7}'
    (tmp_path / token_file.FILE).write_text(text)
    assert token_file.load(str(tmp_path)) == {"default": "d", "agent_recovery": "r"}
    assert token_file.load(str(tmp_path / "none")) == {}
