"""Plain counters of one member; the agent gives them metric names."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

#: Why packets, messages and streams are thrown away.
DROP_REASONS = (
    "bad_address", "compound", "compress", "crc", "cut_off", "encrypted", "invalid_claim",
    "invalid_ltime", "label", "malformed", "not_encrypted", "out_of_place", "ping_for_another",
    "relays_full", "response_too_large", "streams_full", "too_deep", "too_large",
    "too_many_answers", "undecryptable", "unfit_member", "unknown_type", "user_event_too_long",
    "user_event_too_old",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class GossipStats:
    """Counts since the start, and a few current values at the end."""

    probes: int = 0
    probe_failures: int = 0
    indirect_probes_asked: int = 0
    indirect_probes_served: int = 0
    tcp_fallback_successes: int = 0
    suspicions: int = 0
    suspicions_confirmed: int = 0
    refutations: int = 0
    """Times we had to contradict a claim about ourselves."""
    claims_repeated: int = 0
    """Times we said again that we live, since our name had been a dead member's elsewhere."""
    deaths_declared: int = 0
    """Suspicions of ours that ran out."""
    conflicts: int = 0
    """Claims of one name by two addresses."""
    accusations_doubted: int = 0
    """Accusations of members in quarantine: checked by a probe, not believed."""
    quarantines: int = 0
    """Times an accuser was found to accuse wrongly."""
    accusers_held: int = 0
    """In quarantine now."""
    stalls: int = 0
    """Pauses of our own event loop that we noticed."""
    stalled_seconds: float = 0.0
    probes_void: int = 0
    """Probes that a stall of ours interrupted."""
    probes_unsent: int = 0
    """Probes whose ping could not leave this host."""
    packets_sent: int = 0
    packets_received: int = 0
    packet_bytes_sent: int = 0
    packet_bytes_received: int = 0
    packet_send_errors: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Packets, messages and streams thrown away, by the `DROP_REASONS`."""
    streams_accepted: int = 0
    streams_opened: int = 0
    streams_refused: int = 0
    """Closed unread because too many were open."""
    stream_errors: int = 0
    push_pulls: int = 0
    user_events: int = 0
    queries: int = 0
    queries_asked: int = 0
    """Queries of ours."""
    query_answers: int = 0
    """Answers to them, acknowledgements not counted."""
    key_changes: int = 0
    """Times our keyring was changed by a query."""
    keys: int = 0
    """Keys in our keyring."""
    health_score: int = 0
    """0 is healthy; each step stretches the probe interval once more."""
    members_alive: int = 0
    members_failed: int = 0
    members_left: int = 0
    suspects: int = 0
    broadcasts_queued: int = 0
    member_ltime: int = 0
    """Lamport time of members, then of user events, then of queries."""
    event_ltime: int = 0
    query_ltime: int = 0
    coordinate_resets: int = 0
    """Times our network coordinate had to begin again at the origin."""
    broadcasts_dropped: int = 0
    """Messages that left a queue of ours unsaid, for it was full."""
    claims_held: int = 0
    """Refused claims that wait for their name."""

    def drop(self, reason: str) -> None:
        """Count something thrown away."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def with_every_reason(self) -> GossipStats:
        """The same, with a zero for each reason that nothing was thrown away for: a metric that
        does not exist cannot be watched."""
        dropped = dict.fromkeys(DROP_REASONS, 0) | self.dropped
        return dataclasses.replace(self, dropped=dropped)
