"""The keys of access control -> AclConfig: the stanza over the flat keys of old."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.config.decode import Values
from agent.config.schema import AclConfig, AclTokens
from agent.durations import parse_s
from agent.errors import ConfigError

DEFAULT_POLICIES = ("allow", "deny")
DOWN_POLICIES = ("allow", "deny", "extend-cache", "async-cache")

#: Field -> the keys that fill it, the first that is set wins.
_FIELDS = {
    "default_policy": ("acl.default_policy", "acl_default_policy"),
    "down_policy": ("acl.down_policy", "acl_down_policy"),
    "token_ttl_s": ("acl.token_ttl", "acl_ttl"),
    "policy_ttl_s": ("acl.policy_ttl",),
    "role_ttl_s": ("acl.role_ttl",),
    "enable_token_persistence": ("acl.enable_token_persistence",),
    "enable_token_replication": ("acl.enable_token_replication", "enable_acl_replication"),
    "enable_key_list_policy": ("acl.enable_key_list_policy", "acl_enable_key_list_policy"),
    "dry_run": ("acl.dry_run",),
    "intention_policy": ("default_intention_policy",),
}
_TOKENS = {
    "initial_management": (
        "acl.tokens.initial_management",
        "acl.tokens.master",
        "acl_master_token",
    ),
    "agent_recovery": (
        "acl.tokens.agent_recovery",
        "acl.tokens.agent_master",
        "acl_agent_master_token",
    ),
    "agent": ("acl.tokens.agent", "acl_agent_token"),
    "default": ("acl.tokens.default", "acl_token"),
    "replication": ("acl.tokens.replication", "acl_replication_token"),
    "config_file_service_registration": ("acl.tokens.config_file_service_registration",),
    "dns": ("acl.tokens.dns",),
}


def acl_config(values: Values) -> AclConfig:
    """What the user wants."""
    fields: dict[str, Any] = _first_set(values, _FIELDS)
    for name in fields:
        if name.endswith("_ttl_s"):
            fields[name] = parse_s(fields[name])
    # Naming the datacenter of the ACLs was how they were turned on.
    enabled = values.get("acl.enabled", bool(values.get("acl_datacenter")))
    return AclConfig(enabled=enabled, tokens=AclTokens(**_first_set(values, _TOKENS)), **fields)


def check_acl(config: AclConfig) -> None:
    """Checked when an agent starts, not by `validate`. Raises ConfigError."""
    if config.default_policy not in DEFAULT_POLICIES:
        raise ConfigError(
            "Failed to start Consul server: Unsupported default ACL policy: "
            f"{config.default_policy}"
        )
    if config.intention_policy not in ("", *DEFAULT_POLICIES):
        raise ConfigError(
            "Failed to start Consul server: default_intention_policy must be allow or deny, not "
            f"{config.intention_policy!r}"
        )
    if config.down_policy not in DOWN_POLICIES:
        raise ConfigError(
            f"Failed to start Consul server: Unsupported down ACL policy: {config.down_policy}"
        )


def _first_set(values: Values, keys: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    return {
        field: next(values[path] for path in paths if path in values)
        for field, paths in keys.items()
        if any(path in values for path in paths)
    }


def acl_warnings(values: Values, config: AclConfig) -> Iterator[str]:
    """Advice, in the order in which it is printed."""
    if "acl_datacenter" in values:
        yield (
            "The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead."
        )
    if config.enable_token_replication:
        yield (
            "acl.enable_token_replication has no effect: this datacenter is the primary one, whose "
            "tokens others would take over"
        )
    if config.enabled and config.dry_run:
        yield "acl.dry_run is set: requests without permission are logged and carried out"
