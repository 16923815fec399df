"""`explain limits`: how many requests are let in, and how many were too many."""

from __future__ import annotations

from agent.config.schema import AgentConfig
from agent.quotas import Quotas
from raftstore.records import Json


def explain_limits(config: AgentConfig, quotas: Quotas) -> Json:
    """The bounds in force, what was refused or counted under each, and the sizes that are read."""
    limits, stats = config.limits, quotas.stats()
    return {
        "Mode": quotas.limits.mode,
        "Bounds": {
            kind: {
                "PerSecond": rate if rate >= 0 else None,
                "Refused": stats.refused[kind],
                "LetPass": stats.let_pass[kind],
            }
            for kind, rate in quotas.limits.rates.items()
        },
        "TokensAndClientsRemembered": stats.buckets_held,
        "ConnectionsPerClient": limits.http_max_conns_per_client,
        "BlockingQueries": limits.blocking_queries_max,
        "HeaderBytes": limits.http_header_max,
        "BodyBytes": {
            "JSON": limits.http_body_max,
            "Value": limits.kv_max_value_size,
            "Transaction": max(limits.txn_max_req_len, limits.kv_max_value_size),
            "Archive": limits.archive_max_size,
        },
    }
