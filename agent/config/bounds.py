"""Bounds on what comes from outside, with their defaults: the stanza `limits`.

What has no key is bounded by the form of a thing (a DNS name has 255 octets) or by another bound (a
header's length); docs/operate/limits.md lists both.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on everything that comes from outside; Consul's names where it has one."""

    http_max_conns_per_client: int = 200
    #: Of all clients together; 0 for any number.
    http_connections_max: int = 16_384
    #: From the first byte of a request to the end of its headers.
    http_head_timeout_s: float = 10.0
    http_headers_max: int = 100
    #: How long a body may take to come; to the next piece of it where it is a stream.
    http_body_timeout_s: float = 60.0
    #: A client that takes nothing of its answer for so long is dropped.
    http_send_timeout_s: float = 60.0
    #: A connection without a request is closed after this time.
    http_idle_timeout_s: float = 300.0
    #: What is left of a refused body is read for so long, so that the client sees the answer, and
    #: no faster than so many bytes a second of all clients together: to read on costs us more.
    http_refused_body_timeout_s: float = 2.0
    http_refused_body_rate: int = 16 * 1024 * 1024
    http_refused_body_burst: int = 128 * 1024 * 1024
    #: Replies that are kept for the next who asks, their bytes, and who was let in to them.
    http_kept_replies_max: int = 8192
    http_kept_replies_max_size: int = 16 * 1024 * 1024
    http_kept_readers_max: int = 32_768
    #: Tokens whose rights are remembered.
    acl_tokens_known_max: int = 16_384
    #: A foreign token of a login, and the answer of a provider of them.
    login_token_max_size: int = 64 * 1024
    login_answer_max_size: int = 1024 * 1024
    #: Clients whose handshakes are counted by themselves, at each of the doors.
    handshake_clients_max: int = 4096
    #: Events of the audit log that wait to be written; more are lost, and counted.
    audit_queue_max: int = 10_000
    https_handshake_timeout_s: float = 5.0
    https_handshakes_max: int = 512
    https_handshakes_per_second: float = 200.0
    https_handshakes_per_client: float = 100.0
    kv_max_value_size: int = 524_288
    txn_max_req_len: int = 524_288
    txn_operations_max: int = 64
    http_body_max: int = 1_048_576
    http_header_max: int = 65_536
    rpc_max_conns_per_client: int = 100
    rpc_handshake_timeout_s: float = 5.0
    rpc_handshakes_max: int = 512
    rpc_handshakes_per_second: float = 100.0
    rpc_handshakes_per_client: float = 20.0
    rpc_client_bytes_max: int = 64 * 1024 * 1024
    rpc_frame_max: int = 8 * 1024 * 1024
    rpc_inflight_max: int = 4096
    dns_tcp_connections_max: int = 1024
    dns_tcp_idle_s: float = 8.0
    #: Questions of one connection: under way at once, and until it is closed.
    dns_tcp_pipeline_max: int = 32
    dns_tcp_questions_max: int = 128
    dns_ready_answers_max: int = 50_000
    dns_waiting_max: int = 4096
    dns_recursions_max: int = 1024
    dns_rate_entries_max: int = 100_000
    blocking_queries_max: int = 50_000
    #: Reads in one `/v1/watch`; each also counts as a blocking query.
    http_watched_max: int = 256
    #: Answers that are kept up to date for `?cached`.
    cache_answers_max: int = 4096
    #: Probes under way at once: those that connect somewhere, and those that run a program.
    checks_concurrent_max: int = 256
    check_programs_max: int = 32
    #: Size of an archive (`snapshot save`, `restore`), as it is and unpacked.
    archive_max_size: int = 16 * 1024 * 1024 * 1024
    archive_max_unpacked_size: int = 64 * 1024 * 1024 * 1024
    #: How long saving one, or checking one, may take; and how many at once.
    archive_timeout_s: float = 900.0
    archives_max: int = 2
    services_max: int = 10_000
    checks_max: int = 50_000
    #: Of one service: characters of its name and of its id, its tags, its checks.
    service_name_length_max: int = 1024
    service_tags_max: int = 1024
    service_checks_max: int = 256
    #: Leaf certificates that this agent keeps, and proxies that it tells of their upstreams.
    leaves_max: int = 4096
    proxies_max: int = 1024
    #: Each holds a connection to the agent's own HTTP API, which counts in http_max_conns.
    watches_max: int = 100
    #: Commands of `exec` that run at a time on this agent; bytes of each one's output.
    remote_exec_max: int = 8
    remote_exec_output_max: int = 1024 * 1024
