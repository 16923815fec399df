"""Keys that older releases had, and what to use instead ("": nothing)."""

from __future__ import annotations

from collections.abc import Mapping

REMOVED: Mapping[str, str] = {
    "advertise_addrs": "advertise_addr",
    "http_api_response_headers": "http_config.response_headers",
    "recursor": "recursors",
    "statsd_addr": "telemetry.statsd_address",
    "statsite_addr": "telemetry.statsite_address",
    "statsite_prefix": "telemetry.metrics_prefix",
    "dogstatsd_addr": "telemetry.dogstatsd_addr",
    "dogstatsd_tags": "telemetry.dogstatsd_tags",
    "atlas_acl_token": "",
    "atlas_endpoint": "",
    "atlas_infrastructure": "",
    "atlas_join": "",
    "atlas_token": "",
}
