"""Keys of the mesh: `connect`, `auto_encrypt` and their neighbours."""

from __future__ import annotations

from agent.config.keys.rows import (
    BOOL,
    DURATION,
    INT,
    OPAQUE,
    STRING,
    STRINGS,
    Key,
    ignored,
    later,
    now,
    refused,
)

#: The authority of the mesh vouches for identities: whoever may have a certificate for a host name
#: could take one for a server's.
NO_NAMES = "certificates of agents say which agent it is, and name no hosts"

MESH: tuple[Key, ...] = (
    now("default_intention_policy", STRING),
    now("connect.enabled", BOOL, "connect_enabled"),
    now("connect.builtin_proxy", STRING, "connect_builtin_proxy"),
    now("connect.ca_provider", STRING),
    now("proxy.tunnel", STRING, "proxy_tunnel"),
    now("proxy.outlives_agent", DURATION, "proxy_outlives_agent_s"),
    now("proxy.workers", INT, "proxy_workers"),
    now("proxy.native", STRING, "proxy_native"),
    now("proxy.limits", OPAQUE, "proxy_limits"),
    now("proxy.own_streams_max", INT, "proxy_own_streams_max"),
    now("proxy.own_stream_bytes", INT, "proxy_own_stream_bytes"),
    now("proxy.own_stream_within", DURATION, "proxy_own_stream_within_s"),
    now("connect.ca_config", OPAQUE, "ca_config"),
    now("connect.ca_seal_key_file", STRING, "ca_seal_key_file"),
    refused(
        "connect.enable_mesh_gateway_wan_federation",
        BOOL,
        "connect.enable_mesh_gateway_wan_federation is not supported",
        False,
    ),
    now("auto_encrypt.tls", BOOL, "auto_encrypt_tls"),
    now("auto_encrypt.allow_tls", BOOL, "auto_encrypt_allow_tls"),
    later("auto_encrypt.dns_san", STRINGS, (), NO_NAMES),
    later("auto_encrypt.ip_san", STRINGS, (), NO_NAMES),
    refused("auto_config", OPAQUE, "auto_config is not supported", {}),
    later("peering.enabled", BOOL, False, "clusters are not peered"),
    ignored("experiments", STRINGS),
    ignored("xds", OPAQUE, "xds has no effect: there is no xDS server"),
)
