"""Keys of TLS: the `tls` stanza and the flat keys of old."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.config.definition_keys import Kind
from agent.config.keys.network import NO_GRPC
from agent.config.keys.rows import BOOL, STRING, Key, ignored, later, now

_CERTIFICATES: Mapping[str, Kind] = {
    "ca_file": STRING,
    "ca_path": STRING,
    "cert_file": STRING,
    "key_file": STRING,
    "verify_incoming": BOOL,
    "verify_outgoing": BOOL,
    "verify_server_hostname": BOOL,
    "tls_min_version": STRING,
    "tls_cipher_suites": STRING,
}
_OFF: Mapping[Kind, Any] = {STRING: "", BOOL: False}
_NOT_BUILT: Mapping[str, str] = {
    "tls.grpc": NO_GRPC,
    "tls.https": "the HTTPS port dials nobody",
    "tls.defaults": "only connections to servers know it: set it in tls.internal_rpc",
}


def _tls(path: str, kind: Kind) -> Key:
    """Counts for the server port and the HTTP API; there is no gRPC port."""
    stanza, _, name = path.rpartition(".")
    built = stanza != "tls.grpc"
    if stanza == "tls.https":
        built = name not in {"verify_outgoing", "verify_server_hostname"}  # it dials nobody
    if stanza == "tls.defaults" and name == "verify_server_hostname":
        built = False  # it belongs to the stanza of the server port
    if built:
        return now(path, kind, live=True)
    return later(path, kind, _OFF[kind], _NOT_BUILT[stanza])


TLS: tuple[Key, ...] = (
    *(_tls(name, kind) for name, kind in _CERTIFICATES.items()),
    now("verify_incoming_rpc", BOOL, live=True),
    now("tls.internal_rpc.require_node_id", BOOL, live=True),
    now("verify_incoming_https", BOOL, live=True),
    later(
        "server_name",
        STRING,
        "",
        "a server's certificate has to name server.DATACENTER.DOMAIN, whatever its node is called",
    ),
    ignored("tls_prefer_server_cipher_suites", BOOL),
    *(
        _tls(f"tls.{stanza}.{name}", kind)
        for stanza in ("defaults", "https", "internal_rpc", "grpc")
        for name, kind in _CERTIFICATES.items()
    ),
    later("tls.grpc.use_auto_cert", BOOL, False, NO_GRPC),
)  # fmt: skip
