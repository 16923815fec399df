"""Keys of ACLs, in the new and the old spelling."""

from __future__ import annotations

from agent.config.keys.rows import BOOL, DURATION, OPAQUES, STRING, Key, ignored, now

ACL: tuple[Key, ...] = (
    now("acl.enabled", BOOL),
    now("acl.default_policy", STRING),
    now("acl.down_policy", STRING),
    now("acl.token_ttl", DURATION),
    now("acl.policy_ttl", DURATION),
    now("acl.role_ttl", DURATION),
    now("acl.enable_token_persistence", BOOL),
    now("acl.enable_token_replication", BOOL),
    now("acl.enable_key_list_policy", BOOL),
    now("acl.dry_run", BOOL),
    *(
        now(f"acl.tokens.{name}", STRING, live=name not in {"initial_management", "master"})
        for name in (
            "initial_management", "master", "agent_recovery", "agent_master", "agent", "default",
            "replication", "config_file_service_registration", "dns",
        )
    ),
    ignored("acl.tokens.managed_service_provider", OPAQUES),
    ignored("acl.msp_disable_bootstrap", BOOL),
    now("acl_datacenter", STRING),
    now("acl_default_policy", STRING),
    now("acl_down_policy", STRING),
    now("acl_ttl", DURATION),
    now("enable_acl_replication", BOOL),
    now("acl_enable_key_list_policy", BOOL),
    now("acl_master_token", STRING),
    now("acl_agent_master_token", STRING, live=True),
    now("acl_agent_token", STRING, live=True),
    now("acl_token", STRING, live=True),
    now("acl_replication_token", STRING, live=True),
    ignored(
        "acl_enforce_version_8",
        BOOL,
        'config key "acl_enforce_version_8" is deprecated and should be removed',
    ),
)  # fmt: skip
