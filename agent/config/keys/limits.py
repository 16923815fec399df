"""Keys of `limits`: bounds on what comes from outside."""

from __future__ import annotations

from agent.config.keys.rows import DURATION, FLOAT, INT, STRING, Key, now

LIMITS: tuple[Key, ...] = (
    now(
        "limits.http_max_conns_per_client", INT, "limits.http_max_conns_per_client", live=True
    ),
    now("limits.http_connections_max", INT, "limits.http_connections_max"),
    now("limits.http_head_timeout", DURATION, "limits.http_head_timeout_s", positive=True),
    now(
        "limits.https_handshake_timeout", DURATION, "limits.https_handshake_timeout_s",
        positive=True,
    ),
    now("limits.http_headers_max", INT, "limits.http_headers_max", positive=True),
    *(
        now(f"limits.http_{name}_timeout", DURATION, f"limits.http_{name}_timeout_s", positive=True)
        for name in ("body", "send", "idle", "refused_body")
    ),
    *(
        now(f"limits.{name}", INT, f"limits.{name}", positive=True)
        for name in (
            "http_refused_body_rate", "http_refused_body_burst",
            "http_kept_replies_max", "http_kept_replies_max_size", "http_kept_readers_max",
            "acl_tokens_known_max", "login_token_max_size", "login_answer_max_size",
            "handshake_clients_max", "service_name_length_max",
            "service_tags_max", "service_checks_max", "leaves_max", "proxies_max",
            "dns_tcp_pipeline_max", "dns_tcp_questions_max",
        )
    ),
    now("limits.audit_queue_max", INT, "limits.audit_queue_max", positive=True),
    now("limits.https_handshakes_max", INT, "limits.https_handshakes_max"),
    *(
        now(f"limits.{name}", FLOAT, f"limits.{name}", positive=True)
        for name in ("https_handshakes_per_second", "https_handshakes_per_client")
    ),
    now("limits.rpc_handshake_timeout", DURATION, "limits.rpc_handshake_timeout_s", positive=True),
    now("limits.rpc_rate", FLOAT, "request_limits.rpc_rate", live=True),
    now("limits.rpc_max_burst", INT, "request_limits.rpc_burst", live=True),
    now("limits.rpc_handshakes_max", INT, "limits.rpc_handshakes_max"),
    now(
        "limits.rpc_handshakes_per_second", FLOAT, "limits.rpc_handshakes_per_second", positive=True
    ),
    now(
        "limits.rpc_handshakes_per_client", FLOAT, "limits.rpc_handshakes_per_client", positive=True
    ),
    now("limits.rpc_client_bytes_max", INT, "limits.rpc_client_bytes_max", positive=True),
    now("limits.rpc_max_conns_per_client", INT, "limits.rpc_max_conns_per_client"),
    now("limits.kv_max_value_size", INT, "limits.kv_max_value_size", positive=True),
    now("limits.txn_max_req_len", INT, "limits.txn_max_req_len", positive=True),
    now("limits.http_body_max", INT, "limits.http_body_max", positive=True),
    now("limits.blocking_queries_max", INT, "limits.blocking_queries_max", positive=True),
    now("limits.rpc_inflight_max", INT, "limits.rpc_inflight_max", positive=True),
    now("limits.rpc_frame_max", INT, "limits.rpc_frame_max", positive=True),
    now("limits.dns_ready_answers_max", INT, "limits.dns_ready_answers_max", positive=True),
    now("limits.dns_rate_entries_max", INT, "limits.dns_rate_entries_max", positive=True),
    now("limits.dns_recursions_max", INT, "limits.dns_recursions_max"),
    now("limits.dns_tcp_connections_max", INT, "limits.dns_tcp_connections_max"),
    now("limits.dns_tcp_idle_timeout", DURATION, "limits.dns_tcp_idle_s", positive=True),
    now("limits.dns_waiting_max", INT, "limits.dns_waiting_max"),
    now("limits.archive_max_size", INT, "limits.archive_max_size"),
    now("limits.archive_max_unpacked_size", INT, "limits.archive_max_unpacked_size"),
    now("limits.archive_timeout", DURATION, "limits.archive_timeout_s"),
    now("limits.archives_max", INT, "limits.archives_max"),
    now("limits.http_watched_max", INT, "limits.http_watched_max"),
    now("limits.cache_answers_max", INT, "limits.cache_answers_max", positive=True),
    now("limits.watches_max", INT, "limits.watches_max"),
    now(
        "limits.request_limits.names_max", INT, "request_limits.names_max", positive=True, live=True
    ),
    now("limits.request_limits.mode", STRING, "request_limits.mode", live=True),
    *(
        now(f"limits.request_limits.{name}", FLOAT, f"request_limits.{name}", live=True)
        for name in (
            "read_rate", "write_rate", "token_read_rate", "token_write_rate", "client_read_rate",
            "client_write_rate",
        )
    ),
    now("limits.remote_exec_max", INT, "limits.remote_exec_max"),
    now("limits.remote_exec_output_max", INT, "limits.remote_exec_output_max"),
)  # fmt: skip
