"""Keys of the HTTP API and the user interface."""

from __future__ import annotations

from agent.config.keys.rows import (
    BOOL,
    DURATION,
    INT,
    OPAQUE,
    STRING,
    STRING_MAP,
    STRINGS,
    Key,
    ignored,
    now,
)

HTTP: tuple[Key, ...] = (
    now("default_query_time", DURATION, "default_query_time_s", positive=True),
    now("max_query_time", DURATION, "max_query_time_s", positive=True),
    now("http_config.response_headers", STRING_MAP, "http_rules.response_headers"),
    now("http_config.block_endpoints", STRINGS, "http_rules.block_endpoints"),
    now("http_config.allow_write_http_from", STRINGS, "http_rules.allow_write_http_from"),
    now("http_config.use_cache", BOOL, "http_use_cache"),
    now("http_config.max_header_bytes", INT, "limits.http_header_max"),
    now("disable_http_unprintable_char_filter", BOOL, "http_any_char"),
    now("ui_config.enabled", BOOL),
    now("ui_config.dir", STRING),
    now("ui_config.content_path", STRING),
    ignored("ui_config.metrics_provider", STRING),
    ignored("ui_config.metrics_provider_files", STRINGS),
    ignored("ui_config.metrics_provider_options_json", STRING),
    ignored("ui_config.metrics_proxy", OPAQUE),
    ignored("ui_config.dashboard_url_templates", STRING_MAP),
    now("ui", BOOL),
    now("ui_dir", STRING),
    now("ui_content_path", STRING),
)
