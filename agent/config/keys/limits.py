"""Keys of `limits`: bounds on what comes from outside."""

from __future__ import annotations

from agent.config.keys.rows import DURATION, FLOAT, INT, OPAQUE, Key, ignored, later, now

LIMITS: tuple[Key, ...] = (
    now("limits.http_max_conns_per_client", INT, "limits.http_max_conns_per_client"),
    later("limits.https_handshake_timeout", DURATION, "5s"),
    now("limits.rpc_handshake_timeout", DURATION, "limits.rpc_handshake_timeout_s", positive=True),
    later("limits.rpc_rate", FLOAT, -1),
    later("limits.rpc_max_burst", INT, 1000),
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
    now("limits.dns_ready_answers_max", INT, "limits.dns_ready_answers_max", positive=True),
    now("limits.dns_recursions_max", INT, "limits.dns_recursions_max"),
    now("limits.dns_tcp_connections_max", INT, "limits.dns_tcp_connections_max"),
    now("limits.dns_tcp_idle_timeout", DURATION, "limits.dns_tcp_idle_s", positive=True),
    now("limits.dns_waiting_max", INT, "limits.dns_waiting_max"),
    now("limits.archive_max_size", INT, "limits.archive_max_size"),
    now("limits.archive_max_unpacked_size", INT, "limits.archive_max_unpacked_size"),
    now("limits.archive_timeout", DURATION, "limits.archive_timeout_s"),
    now("limits.archives_max", INT, "limits.archives_max"),
    now("limits.watches_max", INT, "limits.watches_max"),
    ignored("limits.request_limits", OPAQUE, "limits.request_limits is not supported"),
)
