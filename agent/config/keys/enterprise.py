"""Keys of Consul Enterprise, and of what it alone can do."""

from __future__ import annotations

from agent.config.keys.rows import BOOL, OPAQUE, OPAQUES, STRING, Key, enterprise, now, refused

ENTERPRISE: tuple[Key, ...] = (
    # Of Enterprise there; here it counts (agent/audit/).
    now("audit", OPAQUE),
    enterprise("license_path", STRING),
    enterprise("read_replica", BOOL),
    enterprise("non_voting_server", BOOL),
    enterprise("snapshot_agent", OPAQUE),
    enterprise("cloud", OPAQUE),
    enterprise("reporting", OPAQUE),
    enterprise("locality", OPAQUE),
    refused("partition", STRING, "partition is not supported", "default"),
    refused("segment", STRING, "Network segments are not supported in this version of Consul", ""),
    refused(
        "segments", OPAQUES, "Network segments are not supported in this version of Consul", ()
    ),
)
