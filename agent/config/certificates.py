"""The keys of TLS -> TlsConfig: stanza over defaults over the flat keys of old."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agent.certificates import TlsConfig
from agent.config.ciphers import openssl_ciphers
from agent.config.decode import Values
from agent.errors import ConfigError

_FLAT = {
    "internal_rpc": {"verify_incoming": "verify_incoming_rpc"},
    "https": {"verify_incoming": "verify_incoming_https"},
}
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
    "tls_cipher_suites",
    "require_node_id",
)
#: What means something for the HTTP API: it dials nobody.
_HTTPS_FIELDS = (*_FIELDS[:5], "tls_min_version", "tls_cipher_suites")
_RENAMED = {"tls_min_version": "min_version", "tls_cipher_suites": "ciphers"}


def tls_config(values: Values, *, server: bool) -> TlsConfig:
    """What the user wants between agents. Raises ConfigError when the parts do not make a whole."""
    config = _of(values, "internal_rpc", _FIELDS)
    if values.get("auto_encrypt.tls"):
        # Whoever is given a certificate dials with TLS, and verifies whom it trusts with its key.
        if not config.has_ca:
            raise ConfigError(
                "auto_encrypt.tls is set, but no authority to verify the servers with: set ca_file"
                " or ca_path"
            )
        config = replace(config, verify_outgoing=True)
    if values.get("auto_encrypt.allow_tls") and not config.complete:
        raise ConfigError(
            "auto_encrypt.allow_tls is set, but this server has no certificate: set ca_file,"
            " cert_file and key_file"
        )
    if server and unverified(config):
        config = replace(config, cert_file="", key_file="")
    _check(config, server=server)
    return config


def unverified(config: TlsConfig) -> bool:
    """Whether a certificate is meant for all faces, but nothing is there to verify agents with.

    So do many who only want HTTPS on a server. Between agents it is not used then, as when there
    is none; who names it in `tls.internal_rpc`, or wants anything verified, hears what is missing.
    """
    wanted = config.verify_incoming or config.verify_outgoing or config.verify_server_hostname
    named = any("internal_rpc" in config.key(name) for name in ("cert_file", "key_file"))
    whole = bool(config.cert_file and config.key_file)
    return whole and not (config.has_ca or wanted or named or config.require_node_id)


def https_config(values: Values) -> TlsConfig:
    """What the user wants of the HTTP API over TLS. Raises ConfigError as above."""
    config = _of(values, "https", _HTTPS_FIELDS)
    _check_pair(config)
    _check_authority(config, ("verify_incoming",))
    return config


def _of(values: Values, stanza: str, names: tuple[str, ...]) -> TlsConfig:
    fields: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for name in names:
        flat = _FLAT[stanza].get(name, "")
        for path in (f"tls.{stanza}.{name}", f"tls.defaults.{name}", flat, name):
            if path in values and (values[path] or path.startswith("tls.")):
                field = _RENAMED.get(name, name)
                fields[field], spelled[field] = values[path], path
                break
    version = fields.get("min_version", "TLSv1_2") or "TLSv1_2"
    if version not in _VERSIONS:
        raise ConfigError(
            f'{spelled["min_version"]}: "{version}" is not supported; use TLSv1_2 or TLSv1_3'
        )
    fields["min_version"] = _VERSIONS[version]
    if fields.get("ciphers"):
        fields["ciphers"] = openssl_ciphers(fields["ciphers"], spelled["ciphers"])
    return TlsConfig(**fields, stanza=stanza, spelled=spelled)


def _check_pair(config: TlsConfig) -> None:
    if bool(config.cert_file) != bool(config.key_file):
        given, missing = ("cert_file", "key_file")[:: 1 if config.cert_file else -1]
        raise ConfigError(f"{config.key(given)} is set, but {config.key(missing)} is not")


def _check_authority(config: TlsConfig, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(config, name) and not config.has_ca:
            words = "".join(part.capitalize() for part in name.split("_"))
            raise ConfigError(
                f"{words} set but no CA certificates were provided: {config.key(name)} is set, so "
                "set ca_file or ca_path too"
            )


def _check(config: TlsConfig, *, server: bool) -> None:
    _check_pair(config)
    _check_authority(config, ("verify_incoming", "verify_outgoing", "verify_server_hostname"))
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
