"""What the configuration says about DNS answers, ready for use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agent.config.schema import AgentConfig
from agent.dns.names import Zone, Zones, make_zone, reverse_zones
from agent.dns.records import SoaTimes
from agent.dns.sources import AskElsewhere

#: No client gets more than this many answer records in a plain UDP reply (DNS contract 8).
UDP_ANSWERS_MAX = 8
_TTL_MAX_S = 0x7FFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Everything that shapes an answer besides the catalog. TTLs are whole seconds."""

    zones: Zones
    datacenter: str
    node: str = ""
    soa: SoaTimes
    node_ttl_s: int = 0
    service_ttls_s: Mapping[str, float]
    only_passing: bool = False
    node_meta_txt: bool = True
    recursion_available: bool = False
    enable_truncate: bool = False
    compress: bool = True
    udp_answer_limit: int = 3
    a_record_limit: int = 0
    weighted_order: bool = False
    #: Reverse zones that nobody else answers for, by their labels joined with dots.
    owned_zones: Mapping[bytes, Zone] = field(default_factory=dict)

    def service_ttl_s(self, name: str) -> int:
        """TTL of a service (lower-case name): its own entry, else the longest ``prefix*``."""
        ttls = self.service_ttls_s
        if not ttls:
            return 0
        if name in ttls:
            return ttl(ttls[name])
        best = ""
        for pattern in ttls:
            if pattern.endswith("*") and name.startswith(pattern[:-1]) and len(pattern) > len(best):
                best = pattern
        return ttl(ttls[best]) if best else 0

    def is_local(self, datacenter: str) -> bool:
        """Whether a datacenter label means this one ("" does)."""
        return not datacenter or datacenter == self.datacenter.lower()

    def of(self, datacenter: str) -> Rules:
        """The same for names in another datacenter."""
        return replace(self, datacenter=datacenter)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsView:
    """What an explanation needs to know of a DNS face: by what it answers, and whom it asks;
    ``elsewhere`` is the way to other datacenters."""

    config: AgentConfig
    recursors: tuple[str, ...] = ()
    looping: tuple[str, ...] = ()
    elsewhere: AskElsewhere | None = None


def ttl(seconds: float) -> int:
    """Whole seconds within what a TTL can say (RFC 2181 section 8)."""
    return max(0, min(int(seconds), _TTL_MAX_S))


def rules_of(config: AgentConfig) -> Rules:
    """The rules of a configuration. Raises ValueError when a domain is no domain name."""
    dns = config.dns
    alternative = make_zone(dns.alt_domain) if dns.alt_domain.strip(".") else None
    return Rules(
        zones=Zones(make_zone(dns.domain), alternative),
        datacenter=config.datacenter,
        node=config.node_name,
        soa=SoaTimes(
            refresh_s=dns.soa_refresh_s,
            retry_s=dns.soa_retry_s,
            expire_s=dns.soa_expire_s,
            min_ttl_s=ttl(dns.soa_min_ttl_s),
        ),
        node_ttl_s=ttl(dns.node_ttl_s),
        service_ttls_s=dns.service_ttl_s,
        only_passing=dns.only_passing,
        node_meta_txt=dns.enable_additional_node_meta_txt,
        recursion_available=bool(dns.recursors),
        enable_truncate=dns.enable_truncate,
        compress=not dns.disable_compression,
        udp_answer_limit=max(0, min(dns.udp_answer_limit, UDP_ANSWERS_MAX)),
        a_record_limit=max(0, dns.a_record_limit),
        weighted_order=dns.weighted_order,
        owned_zones={
            ".".join(zone.labels).encode(): zone for zone in reverse_zones(dns.owned_ranges)
        },
    )
