"""The names of cipher suites as Consul's users write them -> OpenSSL's.

Suites of TLS 1.3 cannot be chosen, there as here. Those without forward secrecy, or with a block
cipher in CBC mode, are known and refused: each has cost somebody their secrets.
"""

from __future__ import annotations

from agent.errors import ConfigError

_SUITES = {
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
_FIXED = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)


def openssl_ciphers(text: str, key: str) -> str:
    """OpenSSL's list for a comma-separated one; "" for none. Raises ConfigError that names it."""
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    found = []
    for name in names:
        if name in _FIXED:
            continue
        if name not in _SUITES:
            weak = "CBC" in name or "RC4" in name or name.startswith("TLS_RSA_")
            why = "it is too weak" if weak else "there is no such suite"
            raise ConfigError(f"{key}: unsupported cipher suite {name}: {why}")
        found.append(_SUITES[name])
    return ":".join(dict.fromkeys(found))
