"""The keys of TLS between agents -> TlsConfig: stanza over defaults over the flat keys of old."""

from __future__ import annotations

from typing import Any

from agent.certificates import TlsConfig
from agent.config.decode import Values
from agent.errors import ConfigError

_FLAT = {"tls_min_version": "tls_min_version", "verify_incoming": "verify_incoming_rpc"}
_VERSIONS = {"tls12": "TLSv1_2", "tls13": "TLSv1_3", "TLSv1_2": "TLSv1_2", "TLSv1_3": "TLSv1_3"}
_FIELDS = (
    "ca_file",
    "ca_path",
    "cert_file",
    "key_file",
    "verify_incoming",
    "verify_outgoing",
    "verify_server_hostname",
    "tls_min_version",
    "require_node_id",
)


def tls_config(values: Values, *, server: bool) -> TlsConfig:
    """What the user wants. Raises ConfigError when the parts do not make a whole."""
    fields: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for name in _FIELDS:
        for path in (f"tls.internal_rpc.{name}", f"tls.defaults.{name}", _FLAT.get(name, ""), name):
            if path in values and (values[path] or path.startswith("tls.")):
                field = "min_version" if name == "tls_min_version" else name
                fields[field], spelled[field] = values[path], path
                break
    version = fields.get("min_version", "TLSv1_2") or "TLSv1_2"
    if version not in _VERSIONS:
        raise ConfigError(
            f'{spelled["min_version"]}: "{version}" is not supported; use TLSv1_2 or TLSv1_3'
        )
    config = TlsConfig(**fields | {"min_version": _VERSIONS[version], "spelled": spelled})
    _check(config, server=server)
    return config


def _check(config: TlsConfig, *, server: bool) -> None:
    if bool(config.cert_file) != bool(config.key_file):
        given, missing = ("cert_file", "key_file")[:: 1 if config.cert_file else -1]
        raise ConfigError(f"{config.key(given)} is set, but {config.key(missing)} is not")
    for name in ("verify_incoming", "verify_outgoing", "verify_server_hostname"):
        if getattr(config, name) and not config.has_ca:
            raise ConfigError(
                f"{config.key(name)} is set, but no authority to verify with: set ca_file or"
                " ca_path"
            )
    if not server:
        return
    if config.cert_file and not config.has_ca:
        raise ConfigError(
            f"{config.key('cert_file')} is set on a server, but no authority to verify the other"
            " servers with: set ca_file or ca_path"
        )
    for name in ("verify_incoming", "verify_outgoing", "verify_server_hostname", "require_node_id"):
        if getattr(config, name) and not config.complete:
            raise ConfigError(
                f"{config.key(name)} is set on a server, but it has no certificate: set cert_file"
                " and key_file"
            )
