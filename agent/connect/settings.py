"""What an operator may set about the certificate authority, read and checked.

Keys are taken in Consul's JSON spelling (``LeafCertTTL``) and in that of configuration files
(``leaf_cert_ttl``). Limits and texts are the mesh contract's A.4; unknown keys are refused, which
is a difference on purpose (A.9).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent import durations
from agent.errors import RequestError

_LEAF_MIN_S, _LEAF_MAX_S = 3600.0, 8760 * 3600.0
_EC_BITS = (224, 256, 384, 521)
_RSA_BITS = (2048, 4096)
_KEYS = {
    "leafcertttl": "LeafCertTTL",
    "intermediatecertttl": "IntermediateCertTTL",
    "rootcertttl": "RootCertTTL",
    "csrmaxpersecond": "CSRMaxPerSecond",
    "csrmaxconcurrent": "CSRMaxConcurrent",
    "privatekeytype": "PrivateKeyType",
    "privatekeybits": "PrivateKeyBits",
    "clusterid": "ClusterID",
}
#: What a fresh cluster shows at `GET /v1/connect/ca/configuration` (measured reference).
DEFAULTS: Mapping[str, Any] = {"IntermediateCertTTL": "8760h", "LeafCertTTL": "72h"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CASettings:
    """Checked settings. ``csr_max_per_second`` of 0 is no limit."""

    leaf_ttl_s: float
    csr_max_per_second: float
    cluster_id: str = ""


def normalise(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings under Consul's JSON keys, over the defaults. Raises RequestError 500."""
    result = dict(DEFAULTS)
    for key, value in given.items():
        known = _KEYS.get(key.replace("_", "").lower())
        if known is None:
            raise RequestError(500, f'error configuring provider: unknown CA config key "{key}"')
        result[known] = value
    return result


def read(config: Mapping[str, Any]) -> CASettings:
    """Check settings. Raises RequestError 500 in the reference's words."""
    values = normalise(config)
    leaf_ttl_s = _duration(values["LeafCertTTL"])
    if leaf_ttl_s < _LEAF_MIN_S:
        raise _refused("leaf cert TTL must be greater or equal than 1h0m0s")
    if leaf_ttl_s > _LEAF_MAX_S:
        raise _refused("leaf cert TTL must be less than 8760h0m0s")
    if _duration(values["IntermediateCertTTL"]) < 3 * leaf_ttl_s:
        raise _refused(
            "Intermediate Cert TTL must be greater or equal than 3 * LeafCertTTL "
            f"(>={durations.format_s(3 * leaf_ttl_s)})."
        )
    _check_key_kind(values.get("PrivateKeyType", "ec"), values.get("PrivateKeyBits", 0))
    cluster_id = str(values.get("ClusterID", "")).lower()
    if cluster_id:
        try:
            uuid.UUID(cluster_id)
        except ValueError as error:
            raise _refused("cluster_id must be a UUID") from error
    rate = values.get("CSRMaxPerSecond", 50)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or rate < 0:
        raise _refused("CSRMaxPerSecond must be a number of at least 0")
    return CASettings(leaf_ttl_s=leaf_ttl_s, csr_max_per_second=float(rate), cluster_id=cluster_id)


def _check_key_kind(kind: Any, bits: Any) -> None:
    if kind not in {"ec", "rsa"}:
        raise _refused("private key type must be either 'ec' or 'rsa'")
    allowed, word = (_EC_BITS, "EC") if kind == "ec" else (_RSA_BITS, "RSA")
    if bits and bits not in allowed:
        choice = ", ".join(str(each) for each in allowed)
        raise _refused(f"{word} key length must be one of ({choice}) bits")


def _duration(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _refused(f"invalid duration {value!r}")
    if not isinstance(value, str):
        return float(value) / 1e9  # a bare number is nanoseconds, as in Go
    try:
        return durations.parse_s(value)
    except durations.DurationError as error:
        raise _refused(str(error)) from error


def _refused(text: str) -> RequestError:
    return RequestError(500, f"error configuring provider: {text}")
