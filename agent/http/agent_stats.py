"""The statistics that `info` shows, in Consul's sections and under its names (cli-config, A2).

Made of the sections that the agent's own counters have; those are shown beside them. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent import CONSUL_VERSION, VERSION
from agent.config.schema import AgentConfig
from agent.durations import format_s

Sections = Mapping[str, Mapping[str, str]]

_ROLES = {"leader": "Leader", "candidate": "Candidate", "follower": "Follower"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the counters do not know. ``goroutines`` are what does Go's work here: tasks."""

    arch: str
    system: str
    python: str
    processors: int
    goroutines: int
    servers: int
    datacenters: int
    checks_by_ttl: int
    acl_enabled: bool


def sections(config: AgentConfig, own: Sections, facts: Facts) -> dict[str, dict[str, str]]:
    """All sections by name."""
    gossip = _serf(own, "gossip", encrypted=bool(config.gossip_keys))
    shown = {name: dict(values) for name, values in own.items()}
    shown["agent"] = _agent(own, facts)
    shown["build"] = {"prerelease": "", "revision": VERSION, "version": CONSUL_VERSION}
    shown["runtime"] = {
        "arch": facts.arch,
        "cpu_count": str(facts.processors),
        "goroutines": str(facts.goroutines),
        "max_procs": "1",
        "os": facts.system,
        "version": f"python{facts.python}",
    }
    shown["serf_lan"] = gossip
    raft = own.get("raft")
    if not config.server or raft is None:
        shown["consul"] = {
            "acl": _enabled(facts.acl_enabled),
            "known_servers": str(facts.servers),
            "server": "false",
        }
        return shown
    shown["consul"] = {
        "acl": _enabled(facts.acl_enabled),
        "bootstrap": _word(config.bootstrap and not config.dev_mode),
        "known_datacenters": str(facts.datacenters),
        "leader": _word(raft.get("role") == "leader"),
        "leader_addr": raft.get("leader_address", ""),
        "server": "true",
    }
    shown["raft"] = {**raft, **_raft(raft, facts)}
    if "gossip_wan" in own:
        shown["serf_wan"] = _serf(own, "gossip_wan", encrypted=bool(config.gossip_wan_keys))
    return shown


def _agent(own: Sections, facts: Facts) -> dict[str, str]:
    local = own.get("local", {})
    checks = int(local.get("checks", "0"))
    return {
        "check_monitors": str(checks - facts.checks_by_ttl),
        "check_ttls": str(facts.checks_by_ttl),
        "checks": str(checks),
        "services": local.get("services", "0"),
    }


def _raft(raft: Mapping[str, str], facts: Facts) -> dict[str, str]:
    last_contact_s = float(raft.get("last_contact_s", "0") or 0)
    leads = raft.get("role") == "leader"
    return {
        "applied_index": raft.get("applied_index", "0"),
        "commit_index": raft.get("commit_index", "0"),
        "fsm_pending": raft.get("pending_proposals", "0"),
        "last_contact": "0" if leads else format_s(round(last_contact_s, 9)),
        "last_log_index": raft.get("last_index", "0"),
        "last_log_term": raft.get("term", "0"),
        "last_snapshot_index": raft.get("snapshot_index", "0"),
        "num_peers": str(max(0, facts.servers - 1)),
        "protocol_version": "3",
        "protocol_version_max": "3",
        "protocol_version_min": "3",
        "state": _ROLES.get(raft.get("role", ""), "Follower"),
        "term": raft.get("term", "0"),
    }


def _serf(own: Sections, area: str, *, encrypted: bool) -> dict[str, str]:
    gossip = own.get(area, {})
    known = [int(gossip.get(f"members_{state}", "0")) for state in ("alive", "failed", "left")]
    return {
        "coordinate_resets": gossip.get("coordinate_resets", "0"),
        "encrypted": _word(encrypted),
        "event_queue": "0",
        "event_time": gossip.get("event_ltime", "0"),
        "failed": str(known[1]),
        "health_score": gossip.get("health_score", "0"),
        "intent_queue": "0",
        "left": str(known[2]),
        "member_time": gossip.get("member_ltime", "0"),
        "members": str(sum(known)),
        "query_queue": "0",
        "query_time": gossip.get("query_ltime", "0"),
    }


def _word(value: bool) -> str:
    return "true" if value else "false"


def _enabled(value: bool) -> str:
    return "enabled" if value else "disabled"
