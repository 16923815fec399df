"""Keys of access control, in both spellings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config.acl import check_acl
from agent.config.schema import AclConfig, AclTokens
from agent.errors import ConfigError
from tests.agent.config.hosts import load_values


def test_it_is_off_by_default(tmp_path: Path) -> None:
    acl = load_values({}, tmp_path).config.acl
    assert acl == AclConfig()
    assert acl.default_allow


@pytest.mark.parametrize(
    "values",
    [
        {
            "acl": {
                "enabled": True,
                "default_policy": "deny",
                "down_policy": "deny",
                "token_ttl": "10s",
                "enable_key_list_policy": True,
                "tokens": {"initial_management": "m", "agent_recovery": "r", "agent": "a",
                           "default": "d", "replication": "p"},
            }
        },
        {
            "acl_datacenter": "dc1",
            "acl_default_policy": "deny",
            "acl_down_policy": "deny",
            "acl_ttl": "10s",
            "acl_enable_key_list_policy": True,
            "acl_master_token": "m",
            "acl_agent_master_token": "r",
            "acl_agent_token": "a",
            "acl_token": "d",
            "acl_replication_token": "p",
        },
        {
            "acl": {
                "enabled": True,
                "default_policy": "deny",
                "down_policy": "deny",
                "token_ttl": "10s",
                "enable_key_list_policy": True,
                "tokens": {"master": "m", "agent_master": "r", "agent": "a", "default": "d",
                           "replication": "p"},
            }
        },
    ],
    ids=["new", "flat", "old names"],
)  # fmt: skip
def test_old_and_new_spelling_mean_the_same(values: dict[str, Any], tmp_path: Path) -> None:
    loaded = load_values(values, tmp_path)
    assert loaded.config.acl == AclConfig(
        enabled=True,
        default_policy="deny",
        down_policy="deny",
        token_ttl_s=10.0,
        enable_key_list_policy=True,
        tokens=AclTokens(
            initial_management="m", agent_recovery="r", agent="a", default="d", replication="p"
        ),
    )
    assert not loaded.config.acl.default_allow
    deprecated = (
        "The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead."
    )
    assert (deprecated in loaded.warnings) is ("acl_datacenter" in values)


def test_the_new_spelling_wins(tmp_path: Path) -> None:
    values = {"acl": {"tokens": {"default": "new"}}, "acl_token": "old"}
    assert load_values(values, tmp_path).config.acl.tokens.default == "new"


@pytest.mark.parametrize("name", ["default", "down"])
def test_a_policy_that_is_none_is_refused_at_the_start(name: str, tmp_path: Path) -> None:
    acl = load_values({"acl": {f"{name}_policy": "foo"}}, tmp_path).config.acl
    with pytest.raises(ConfigError, match=f"Unsupported {name} ACL policy: foo"):
        check_acl(acl)


def test_no_secret_is_shown() -> None:
    assert "s3cret" not in repr(AclTokens(default="s3cret", agent="s3cret", dns="s3cret"))


def test_a_dry_run_is_told(tmp_path: Path) -> None:
    loaded = load_values({"acl": {"enabled": True, "dry_run": True}}, tmp_path)
    assert any("acl.dry_run" in warning for warning in loaded.warnings)


def test_intentions_have_a_default_of_their_own(tmp_path: Path) -> None:
    assert load_values({}, tmp_path).config.acl.intentions_allow
    denied = load_values({"default_intention_policy": "deny"}, tmp_path).config.acl
    assert denied.default_allow
    assert not denied.intentions_allow
    strict = {"enabled": True, "default_policy": "deny"}
    assert not load_values({"acl": strict}, tmp_path).config.acl.intentions_allow
    open_ = {"acl": strict, "default_intention_policy": "allow"}
    assert load_values(open_, tmp_path).config.acl.intentions_allow
    wrong = load_values({"default_intention_policy": "perhaps"}, tmp_path).config.acl
    with pytest.raises(ConfigError, match="default_intention_policy must be allow or deny"):
        check_acl(wrong)
