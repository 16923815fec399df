"""Keys of DNS."""

from __future__ import annotations

from dataclasses import replace

from agent.config.keys.rows import (
    BOOL,
    DURATION,
    DURATION_MAP,
    INT,
    STRING,
    STRINGS,
    Key,
    enterprise,
    now,
)

_DNS: tuple[Key, ...] = (
    now("domain", STRING),
    now("alt_domain", STRING),
    now("recursors", STRINGS),
    now("dns_config.recursor_timeout", DURATION, "dns.recursor_timeout_s"),
    now("dns_config.recursor_strategy", STRING, "dns.recursor_strategy"),
    now("dns_config.recursion_allowed_cidrs", STRINGS, "dns.recursion_allowed_cidrs"),
    now("dns_config.response_rate_exempt_cidrs", STRINGS, "dns.response_rate_exempt_cidrs"),
    now("dns_config.response_rate_limit", INT, "dns.response_rate_limit"),
    now("dns_config.response_rate_slip", INT, "dns.response_rate_slip"),
    now("dns_config.workers", INT, "dns.workers"),
    now("dns_config.weighted_order", BOOL, "dns.weighted_order"),
    now("dns_config.owned_ranges", STRINGS, "dns.owned_ranges"),
    now("dns_config.allow_stale", BOOL, "dns.allow_stale"),
    now("dns_config.max_stale", DURATION, "dns.max_stale_s"),
    now("dns_config.node_ttl", DURATION, "dns.node_ttl_s"),
    now("dns_config.service_ttl", DURATION_MAP, "dns.service_ttl_s"),
    now("dns_config.enable_truncate", BOOL, "dns.enable_truncate"),
    now("dns_config.only_passing", BOOL, "dns.only_passing"),
    now("dns_config.udp_answer_limit", INT, "dns.udp_answer_limit"),
    now("dns_config.a_record_limit", INT, "dns.a_record_limit"),
    now("dns_config.disable_compression", BOOL, "dns.disable_compression"),
    now("dns_config.enable_additional_node_meta_txt", BOOL, "dns.enable_additional_node_meta_txt"),
    now("dns_config.soa.refresh", INT, "dns.soa_refresh_s"),
    now("dns_config.soa.retry", INT, "dns.soa_retry_s"),
    now("dns_config.soa.expire", INT, "dns.soa_expire_s"),
    now("dns_config.soa.min_ttl", INT, "dns.soa_min_ttl_s"),
    now("dns_config.use_cache", BOOL, "dns.use_cache"),
    now("dns_config.cache_max_age", DURATION, "dns.cache_max_age_s"),
    enterprise("dns_config.prefer_namespace", BOOL),
)
#: A reload answers by the new ones at once.
DNS: tuple[Key, ...] = tuple(replace(key, live=True) for key in _DNS)
