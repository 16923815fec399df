"""Keys of gossip: Consul's timing, and lictor's own, which `agent.config.gossip_keys` explains."""

from __future__ import annotations

from agent.config.gossip_keys import BETTER, NUMBERS, POSITIVE
from agent.config.keys.rows import DURATION, INT, STRING, Key, later, now

#: Name, type, field of GossipTiming, default of the WAN pool. None of them may be 0.
_TIMING = (
    ("gossip_interval", DURATION, "gossip_interval_s", "500ms"),
    ("gossip_nodes", INT, "gossip_nodes", 3),
    ("probe_interval", DURATION, "probe_interval_s", "5s"),
    ("probe_timeout", DURATION, "probe_timeout_s", "3s"),
    ("retransmit_mult", INT, "retransmit_mult", 4),
    ("suspicion_mult", INT, "suspicion_mult", 6),
)

GOSSIP: tuple[Key, ...] = (
    *(
        now(f"gossip_lan.{name}", kind, f"gossip_lan.{field}", positive=True)
        for name, kind, field, _ in _TIMING
    ),
    *(later(f"gossip_wan.{name}", kind, default) for name, kind, _, default in _TIMING),
    now("gossip_lan.profile", STRING, "gossip.profile"),
    *(now(f"gossip_lan.{name}", kind, f"gossip_lan.{field}") for name, kind, field in BETTER),
    *(
        now(f"gossip_lan.{name}", kind, f"gossip.{field}", positive=name in POSITIVE)
        for name, kind, field in NUMBERS
    ),
)
