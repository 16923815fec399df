"""What an operator may set about the certificate authority, read and checked.

Keys are taken in Consul's JSON spelling (``LeafCertTTL``) and in that of configuration files
(``leaf_cert_ttl``). Limits and texts are the mesh contract's A.4; unknown keys are refused, which
is a difference on purpose (A.9).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent import durations
from agent.errors import RequestError

PEM_MAX = 65_536
_LEAF_MIN_S, _LEAF_MAX_S = 3600.0, 8760 * 3600.0
#: Whoever has a leaf that lives longer has the key of a service for long (contract A.9).
LEAF_LONG_S = 30 * 86_400.0
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
    "privatekey": "PrivateKey",
    "rootcert": "RootCert",
    "rotationperiod": "RotationPeriod",
    "externalsigner": "ExternalSigner",
}
#: What is shown in the place of a key that an operator gave.
REDACTED = "<redacted>"
DEFAULT_BITS = {"ec": 256, "rsa": 2048}
#: What a fresh cluster shows at `GET /v1/connect/ca/configuration` (measured reference).
DEFAULTS: Mapping[str, Any] = {"IntermediateCertTTL": "8760h", "LeafCertTTL": "72h"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CASettings:
    """Checked settings. ``csr_max_per_second`` of 0 is no limit, and then ``csr_max_concurrent``
    counts, where 0 is none either. ``private_key`` and ``root_cert`` are "" unless given."""

    leaf_ttl_s: float
    csr_max_per_second: float
    cluster_id: str = ""
    csr_max_concurrent: int = 0
    root_ttl_s: float = 87_600 * 3600.0
    key_type: str = "ec"
    key_bits: int = 256
    private_key: str = field(default="", repr=False)
    root_cert: str = ""
    #: The root's key is kept elsewhere: the servers have that of an intermediate only.
    external_signer: bool = False


def normalise(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings under Consul's JSON keys, over the defaults. Raises RequestError 500."""
    result = dict(DEFAULTS)
    for key, value in given.items():
        result[_known(key)] = value
    return result


def followed(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings once those given have taken their places. Raises RequestError 500.

    A key and a root that were brought are over when the root's key is to be kept elsewhere.
    """
    result, fresh = normalise({**stored, **given}), {_known(key) for key in given}
    if "ExternalSigner" in fresh and result["ExternalSigner"]:
        for key in {"PrivateKey", "RootCert"} - fresh:
            result.pop(key, None)
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
    kind = values.get("PrivateKeyType") or "ec"
    _check_key_kind(kind, values.get("PrivateKeyBits", 0))
    root_ttl_s = _duration(values.get("RootCertTTL", "87600h"))
    if root_ttl_s < _duration(values["IntermediateCertTTL"]):
        raise _refused("root certificate TTL is set but is less than the intermediate TTL")
    key, cert = _pem(values, "PrivateKey"), _pem(values, "RootCert")
    if cert and not values.get("PrivateKey"):
        raise _refused("must provide a private key when providing a root cert")
    external = values.get("ExternalSigner") or False
    if not isinstance(external, bool):
        raise _refused("ExternalSigner must be true or false")
    if external and (cert or key):
        raise _refused("with ExternalSigner no private key or root certificate is given")
    return CASettings(
        leaf_ttl_s=leaf_ttl_s,
        csr_max_per_second=float(_number(values, "CSRMaxPerSecond", 50)),
        csr_max_concurrent=int(_number(values, "CSRMaxConcurrent", 0)),
        cluster_id=_cluster_id(values),
        root_ttl_s=root_ttl_s,
        key_type=kind,
        key_bits=int(values.get("PrivateKeyBits") or DEFAULT_BITS[kind]),
        private_key="" if key == REDACTED else key,
        root_cert=cert,
        external_signer=external,
    )


def shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are kept and shown: without a private key."""
    return {
        key: REDACTED if key == "PrivateKey" and value else value for key, value in values.items()
    }


def _known(key: str) -> str:
    known = _KEYS.get(key.replace("_", "").lower())
    if known is None:
        raise RequestError(500, f'error configuring provider: unknown CA config key "{key}"')
    return known


def _cluster_id(values: Mapping[str, Any]) -> str:
    cluster_id = str(values.get("ClusterID", "")).lower()
    if cluster_id:
        try:
            uuid.UUID(cluster_id)
        except ValueError as error:
            raise _refused("cluster_id must be a UUID") from error
    return cluster_id


def _number(values: Mapping[str, Any], key: str, default: int) -> int | float:
    found = values.get(key, default)
    if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
        raise _refused(f"{key} must be a number of at least 0")
    return found


def _pem(values: Mapping[str, Any], key: str) -> str:
    found = values.get(key) or ""
    if not isinstance(found, str) or len(found) > PEM_MAX:
        raise _refused(f"{key} must be PEM text of at most {PEM_MAX} characters")
    return found


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
