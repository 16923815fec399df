"""Keys of `telemetry`."""

from __future__ import annotations

from agent.config.keys.rows import BOOL, DURATION, STRING, STRINGS, Key, ignored, now

TELEMETRY: tuple[Key, ...] = (
    now(
        "telemetry.prometheus_retention_time", DURATION, "prometheus_retention_time_s"
    ),
    now("telemetry.metrics_prefix", STRING, "telemetry.metrics_prefix"),
    now("telemetry.disable_hostname", BOOL, "telemetry.disable_hostname"),
    now("telemetry.prefix_filter", STRINGS, live=True),
    now("telemetry.filter_default", BOOL, "telemetry.filter_default", live=True),
    now("telemetry.statsd_address", STRING, "telemetry.statsd_address"),
    now("telemetry.statsite_address", STRING, "telemetry.statsite_address"),
    now("telemetry.dogstatsd_addr", STRING, "telemetry.dogstatsd_addr"),
    now("telemetry.dogstatsd_tags", STRINGS, "telemetry.dogstatsd_tags"),
    *(
        ignored(f"telemetry.circonus_{name}", STRING, "telemetry.circonus_* has no effect")
        for name in (
            "api_app", "api_token", "api_url", "broker_id", "broker_select_tag",
            "check_display_name", "check_force_metric_activation", "check_id",
            "check_instance_id", "check_search_tag", "check_tags", "submission_interval",
            "submission_url",
        )
    ),
    ignored("telemetry.disable_compat_1.9", BOOL),
    ignored("telemetry.enable_host_metrics", BOOL),
    ignored("telemetry.retry_failed_connection", BOOL),
)  # fmt: skip
