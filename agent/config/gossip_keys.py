"""The keys of `gossip_lan` and `gossip_wan` beyond Consul's six: lictor's own, and profiles.

Every number of `gossip.GossipConfig` that a user may have reason to change has one; what it trades
against what is written there. `profile` chooses the figures of the field for all that is not set.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from agent.config.definition_keys import Kind
from agent.errors import ConfigError
from gossip import GossipConfig
from gossip.errors import ConfigError as GossipConfigError

PROFILES: Mapping[str, Callable[[str], GossipConfig]] = {
    "lan": GossipConfig.lan,
    "wan": GossipConfig.wan,
    "local": GossipConfig.local,
}
#: Where its gossip does better than the reference's rules, and how to have those.
BETTER: tuple[tuple[str, Kind, str], ...] = (
    ("identity_reclaim_time", Kind.DURATION, "identity_reclaim_s"),
    ("dead_node_reclaim_time", Kind.DURATION, "dead_node_reclaim_s"),
    ("push_pull_strict", Kind.BOOL, "push_pull_strict"),
    ("unique_node_ids", Kind.BOOL, "unique_node_ids"),
    ("stall_min_time", Kind.DURATION, "stall_min_s"),
    ("quarantine_time", Kind.DURATION, "quarantine_s"),
)
#: Name of the key, its type, the field of GossipConfig.
NUMBERS: tuple[tuple[str, Kind, str], ...] = (
    ("label", Kind.STRING, "label"),
    ("enable_compression", Kind.BOOL, "compression"),
    ("indirect_checks", Kind.INT, "indirect_checks"),
    ("tcp_pings", Kind.BOOL, "tcp_pings"),
    ("push_pull_accuses", Kind.BOOL, "push_pull_accuses"),
    ("suspects_told", Kind.BOOL, "suspects_told"),
    ("suspicion_max_timeout_mult", Kind.INT, "suspicion_max_timeout_mult"),
    ("suspicion_grace_mult", Kind.INT, "suspicion_grace_mult"),
    ("awareness_max_multiplier", Kind.INT, "awareness_max"),
    ("gossip_to_the_dead_time", Kind.DURATION, "gossip_to_the_dead_s"),
    ("push_pull_interval", Kind.DURATION, "push_pull_interval_s"),
    ("tcp_timeout", Kind.DURATION, "tcp_timeout_s"),
    ("reconnect_interval", Kind.DURATION, "reconnect_interval_s"),
    ("tombstone_timeout", Kind.DURATION, "tombstone_timeout_s"),
    ("reap_interval", Kind.DURATION, "reap_interval_s"),
    ("recent_intent_timeout", Kind.DURATION, "recent_intent_timeout_s"),
    ("broadcast_timeout", Kind.DURATION, "broadcast_timeout_s"),
    ("leave_propagate_delay", Kind.DURATION, "leave_propagate_s"),
    ("query_timeout_mult", Kind.INT, "query_timeout_mult"),
    ("udp_buffer_size", Kind.INT, "packet_budget_bytes"),
    ("user_event_size_limit", Kind.INT, "user_event_bytes_max"),
    ("query_size_limit", Kind.INT, "query_bytes_max"),
    ("query_response_size_limit", Kind.INT, "query_response_bytes_max"),
    ("quarantine_evidence_time", Kind.DURATION, "quarantine_evidence_s"),
    ("quarantine_share_max", Kind.FLOAT, "quarantine_share_max"),
    *(
        (name, Kind.INT, name)
        for name in (
            "packet_bytes_max", "packet_decompressed_bytes_max", "packet_parts_max", "nesting_max",
            "stream_bytes_max", "stream_decompressed_bytes_max", "stream_nodes_max", "streams_max",
            "members_max", "intents_max", "broadcasts_max", "acks_pending_max", "events_buffer",
            "events_per_ltime_max", "events_bytes_max", "user_event_received_bytes_max",
            "query_filters_max", "filter_states_max", "queries_running_max", "query_answers_max",
            "queries_answering_max", "keyring_keys_max", "key_changes_max", "key_rounds_max",
            "quarantine_refuted_min", "stall_voids_max", "accusers_max", "refusals_max",
            "explain_transitions_max", "compression_min_bytes", "offload_min_bytes",
            "encryption_version",
        )
    ),
)  # fmt: skip
#: A number of nothing turns these off; of all others it would leave no working ring.
MAY_BE_ZERO = frozenset(
    {
        "suspicion_grace_mult", "push_pull_interval", "leave_propagate_delay", "stall_voids_max",
        "compression_min_bytes", "encryption_version",
    }
)  # fmt: skip
POSITIVE = frozenset(
    name
    for name, kind, _ in NUMBERS
    if kind in (Kind.INT, Kind.FLOAT, Kind.DURATION) and name not in MAY_BE_ZERO
)


def with_profile(
    stanza: str,
    usual_profile: str,
    timing: dict[str, Any],
    numbers: dict[str, Any],
    timing_fields: frozenset[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is set, on top of what the profile means: fields of GossipTiming, and all others.

    Raises ConfigError for an unknown profile, and for values that contradict each other.
    """
    rest = dict(numbers)
    profile = rest.pop("profile", usual_profile)
    if profile not in PROFILES:
        raise ConfigError(f'{stanza}.profile cannot be "{profile}". Must be lan, wan or local')
    chosen, usual = PROFILES[profile]("any"), GossipConfig.lan("any")
    changes = {
        each.name: getattr(chosen, each.name)
        for each in dataclasses.fields(GossipConfig)
        if getattr(chosen, each.name) != getattr(usual, each.name)
    }
    timed = {name: value for name, value in changes.items() if name in timing_fields} | timing
    others = {n: value for n, value in changes.items() if n not in timing_fields} | rest
    known = {each.name for each in dataclasses.fields(GossipConfig)}
    try:
        GossipConfig(name="any", **{n: v for n, v in timed.items() if n in known}, **others)
    except GossipConfigError as error:
        raise ConfigError(f"{stanza}: {error}") from None
    return timed, others
