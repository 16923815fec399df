"""Keys of gossip: Consul's timing, and lictor's own, which `agent.config.gossip_keys` explains."""

from __future__ import annotations

from agent.config.gossip_keys import BETTER, NUMBERS, POSITIVE
from agent.config.keys.rows import DURATION, INT, STRING, Key, now

#: Name, type, field of GossipTiming. None of them may be 0.
_TIMING = (
    ("gossip_interval", DURATION, "gossip_interval_s"),
    ("gossip_nodes", INT, "gossip_nodes"),
    ("probe_interval", DURATION, "probe_interval_s"),
    ("probe_timeout", DURATION, "probe_timeout_s"),
    ("retransmit_mult", INT, "retransmit_mult"),
    ("suspicion_mult", INT, "suspicion_mult"),
)


def _pool(stanza: str, numbers: str) -> tuple[Key, ...]:
    """The keys of one pool; what is no timing goes into the group ``numbers``."""
    return (
        *(
            now(f"{stanza}.{name}", kind, f"{stanza}.{field}", positive=True)
            for name, kind, field in _TIMING
        ),
        now(f"{stanza}.profile", STRING, f"{numbers}.profile"),
        *(now(f"{stanza}.{name}", kind, f"{stanza}.{field}") for name, kind, field in BETTER),
        *(
            now(f"{stanza}.{name}", kind, f"{numbers}.{field}", positive=name in POSITIVE)
            for name, kind, field in NUMBERS
        ),
    )


GOSSIP: tuple[Key, ...] = (
    *_pool("gossip_lan", "gossip"),
    *_pool("gossip_wan", "gossip_between"),
)
