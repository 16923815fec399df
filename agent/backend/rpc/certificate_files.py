"""Files of certificates and keys, read and judged; errors name the key and the file.

For the server port and for HTTPS alike: one opinion about what is a good certificate.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent.backend.rpc.expiry import Held
from agent.certificates import TlsConfig
from agent.errors import ConfigError

#: As in the mesh (proxy/tls.py); the suites of TLS 1.3 are OpenSSL's default.
_CIPHERS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: No keys below 112 bits of security (RSA 2048, P-224), no SHA-1 in certificates, ours or theirs.
_SECURITY_LEVEL = "@SECLEVEL=2"


def make_context(config: TlsConfig, protocol: int) -> ssl.SSLContext:
    """A context with our certificate and the authorities, if there are. Raises ConfigError."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3 if config.min_version == "TLSv1_3" else ssl.TLSVersion.TLSv1_2
    )
    context.set_ciphers(f"{config.ciphers or _CIPHERS_1_2}:{_SECURITY_LEVEL}")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if config.ca_file:
        text = read_file(config, "ca_file")
        try:
            context.load_verify_locations(cadata=text.decode("ascii", "replace"))
        except ssl.SSLError as error:
            raise unusable(config, "ca_file", f"no certificate of an authority: {error}") from None
    for path in _folder(config):
        try:
            context.load_verify_locations(path)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"{config.key('ca_path')}: {path}: {error}") from None
    if config.cert_file:
        # The key's password is never asked for on a terminal: such a key is refused before.
        try:
            context.load_cert_chain(config.cert_file, config.key_file, password="")
        except (ssl.SSLError, OSError) as error:
            raise unusable(config, "cert_file", str(error)) from None
    return context


def _folder(config: TlsConfig) -> list[Path]:
    if not config.ca_path:
        return []
    try:
        found = sorted(path for path in Path(config.ca_path).iterdir() if path.is_file())
    except OSError as error:
        raise unusable(config, "ca_path", error.strerror or str(error)) from None
    if not found:
        raise unusable(config, "ca_path", "holds no file")
    return found


def held(kind: str, certificate: x509.Certificate) -> Held:
    """What is to be known of a certificate in force."""
    return Held(
        kind=kind,
        subject=certificate.subject.rfc4514_string(),
        serial=certificate.serial_number,
        expires_at=certificate.not_valid_after_utc.timestamp(),
    )


def authorities(config: TlsConfig) -> list[Held]:
    """What can be read of them; whether they can be used is OpenSSL's to say."""
    found: list[Held] = []
    for path in [*([Path(config.ca_file)] if config.ca_file else []), *_folder(config)]:
        with contextlib.suppress(OSError, ValueError):
            certificates = x509.load_pem_x509_certificates(path.read_bytes())
            found += [held("authority", each) for each in certificates]
    return found


def check_pair(config: TlsConfig) -> x509.Certificate:
    """Our certificate. Has it its key, and is it still good? Raises ConfigError."""
    cert_pem, key_pem = read_file(config, "cert_file"), read_file(config, "key_file")
    try:
        certificate = x509.load_pem_x509_certificate(cert_pem)
    except ValueError:
        raise unusable(config, "cert_file", "no certificate in PEM form") from None
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError:
        raise unusable(config, "key_file", "the key is encrypted") from None
    except ValueError:
        raise unusable(config, "key_file", "no private key in PEM form") from None
    if key.public_key() != certificate.public_key():
        raise unusable(
            config, "key_file", f"is not the key of the certificate in {config.cert_file}"
        )
    if certificate.not_valid_after_utc.timestamp() < time.time():
        ended = f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        raise unusable(config, "cert_file", f"the certificate has expired ({ended})")
    return certificate


def read_file(config: TlsConfig, name: str) -> bytes:
    """The bytes of the file that a key names. Raises ConfigError."""
    try:
        return Path(getattr(config, name)).read_bytes()
    except OSError as error:
        raise unusable(config, name, error.strerror or str(error)) from None


def unusable(config: TlsConfig, name: str, why: str) -> ConfigError:
    """The error that names key and file."""
    return ConfigError(f"{config.key(name)}: {getattr(config, name)}: {why}")
