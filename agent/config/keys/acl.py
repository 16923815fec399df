"""Keys of ACLs, in the new and the old spelling."""

from __future__ import annotations

from agent.config.keys.rows import BOOL, DURATION, OPAQUES, STRING, Key, ignored, later

ACL: tuple[Key, ...] = (
    later("acl.enabled", BOOL, False),
    later("acl.default_policy", STRING, "allow"),
    later("acl.down_policy", STRING, "extend-cache"),
    later("acl.token_ttl", DURATION, "30s"),
    later("acl.policy_ttl", DURATION, "30s"),
    later("acl.role_ttl", DURATION, "30s"),
    later("acl.enable_token_persistence", BOOL, False),
    later("acl.enable_token_replication", BOOL, False),
    later("acl.enable_key_list_policy", BOOL, False),
    *(
        later(f"acl.tokens.{name}", STRING, "")
        for name in (
            "initial_management", "master", "agent_recovery", "agent_master", "agent", "default",
            "replication", "config_file_service_registration", "dns",
        )
    ),
    ignored("acl.tokens.managed_service_provider", OPAQUES),
    ignored("acl.msp_disable_bootstrap", BOOL),
    later("acl_datacenter", STRING, ""),
    later("acl_default_policy", STRING, "allow"),
    later("acl_down_policy", STRING, "extend-cache"),
    later("acl_ttl", DURATION, "30s"),
    later("enable_acl_replication", BOOL, False),
    later("acl_enable_key_list_policy", BOOL, False),
    later("acl_master_token", STRING, ""),
    later("acl_agent_master_token", STRING, ""),
    later("acl_agent_token", STRING, ""),
    later("acl_token", STRING, ""),
    later("acl_replication_token", STRING, ""),
    ignored(
        "acl_enforce_version_8",
        BOOL,
        'config key "acl_enforce_version_8" is deprecated and should be removed',
    ),
)  # fmt: skip
