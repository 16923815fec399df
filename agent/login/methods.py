"""Auth methods as operators write them: what a type needs, and what of it is refused. Pure.

``Config`` is kept as it came and read anew for each login; names in it are matched without regard
to case. Error texts are the reference's where clients show them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from agent.durations import DurationError, parse_s
from agent.login import jwt
from agent.login.claims import Bounds
from agent.login.oidc import Client
from raftstore.records import Json

JWT, KUBERNETES, OIDC = "jwt", "kubernetes", "oidc"
TYPES = (JWT, KUBERNETES, OIDC)
TTL_MIN_S, TTL_MAX_S = 60.0, 24 * 3600.0

_JWT_FIELDS = (
    "JWTValidationPubKeys", "JWKS", "JWKSURL", "JWKSCACert", "OIDCDiscoveryURL",
    "OIDCDiscoveryCACert", "BoundIssuer", "BoundAudiences", "JWTSupportedAlgs",
    "ClaimMappings", "ListClaimMappings",
    "ExpirationLeeway", "NotBeforeLeeway", "ClockSkewLeeway", "OIDCClientID", "OIDCClientSecret",
    "OIDCScopes", "OIDCACRValues", "AllowedRedirectURIs", "VerboseOIDCLogging",
    "OIDCClientUsePKCE",
)  # fmt: skip
_KUBERNETES_FIELDS = ("Host", "CACert", "ServiceAccountJWT")
_FIELDS = {JWT: _JWT_FIELDS, OIDC: _JWT_FIELDS, KUBERNETES: _KUBERNETES_FIELDS}
#: What of a configuration is nobody's but the method's own: shown to those who may write ACLs.
SECRETS = frozenset({"ServiceAccountJWT", "OIDCClientSecret"})
_BY_LOWER = {name.lower(): name for names in _FIELDS.values() for name in names}
_ITEMS_MAX = 64


class MethodError(ValueError):
    """The configuration cannot be used; the text follows "Invalid Auth Method: "."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtMethod:
    """Tokens of an issuer. One of ``keys``, ``jwks_url`` and ``discovery_url`` says whose."""

    keys: tuple[jwt.Key, ...] = ()
    jwks_url: str = ""
    discovery_url: str = ""
    authorities_pem: str = ""
    bounds: Bounds = field(default_factory=Bounds)
    algorithms: Sequence[str] = ()
    mappings: Mapping[str, str] = field(default_factory=dict)
    list_mappings: Mapping[str, str] = field(default_factory=dict)
    #: Of type oidc only: how browsers log in.
    client: Client | None = None

    @property
    def variables(self) -> list[str]:
        """What names of binding rules may speak of."""
        return [f"value.{name}" for name in self.mappings.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesMethod:
    """Service accounts, which a cluster's API vouches for."""

    host: str
    authorities_pem: str
    own_token: str = field(repr=False)

    variables = (
        "serviceaccount.namespace",
        "serviceaccount.name",
        "serviceaccount.uid",
    )


def read(type: str, config: Json) -> JwtMethod | KubernetesMethod:
    """The method that a configuration means. Raises MethodError."""
    if type not in TYPES:
        raise MethodError("Type should be one of: [jwt kubernetes]")
    given = _named(type, config)
    return _kubernetes(given) if type == KUBERNETES else _jwt(type, given)


def without_secrets(config: Json) -> Json:
    """A configuration as those may see it who may only read."""
    if not isinstance(config, dict):
        return config
    return {
        name: "<hidden>" if _BY_LOWER.get(name.lower()) in SECRETS and value else value
        for name, value in config.items()
    }


def _named(type: str, config: Json) -> dict[str, Any]:
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise MethodError("error decoding config: it is no object")
    found: dict[str, Any] = {}
    unknown = []
    for name, value in config.items():
        known = _BY_LOWER.get(name.lower().replace("_", ""))
        if known is None or known not in _FIELDS[type]:
            unknown.append(name)
        elif value is not None:
            found[known] = value
    if unknown:
        raise MethodError(f"error decoding config: has invalid keys: {', '.join(sorted(unknown))}")
    return found


# -- jwt and oidc --------------------------------------------------------------------------------


def _jwt(type: str, given: Mapping[str, Any]) -> JwtMethod:
    pems, jwks_url = _strings(given, "JWTValidationPubKeys"), _string(given, "JWKSURL")
    discovery_url = _string(given, "OIDCDiscoveryURL")
    if type == OIDC:
        _check_oidc(given, discovery_url)
    else:
        for name in ("OIDCClientID", "OIDCClientSecret", "AllowedRedirectURIs", "OIDCScopes"):
            if given.get(name):
                raise MethodError(f"'{name}' must not be set for type \"jwt\"")
        if [bool(pems or given.get("JWKS")), bool(jwks_url), bool(discovery_url)].count(True) != 1:
            raise MethodError(
                "exactly one of 'JWTValidationPubKeys', 'JWKSURL', or 'OIDCDiscoveryURL' must be"
                ' set for type "jwt"'
            )
    authorities = _authorities(given, "JWKSCACert" if jwks_url else "OIDCDiscoveryCACert")
    for name, url in (("JWKSURL", jwks_url), ("OIDCDiscoveryURL", discovery_url)):
        _check_url(name, url)
    algorithms = _strings(given, "JWTSupportedAlgs")
    for each in algorithms:
        if each not in jwt.ALGORITHMS:
            raise MethodError(f"Invalid supported algorithm: {each}")
    mappings, lists = _mapping(given, "ClaimMappings"), _mapping(given, "ListClaimMappings")
    for name, found in (("ClaimMappings", mappings), ("ListClaimMappings", lists)):
        targets = list(found.values())
        for target in targets:
            if targets.count(target) > 1:
                raise MethodError(f'{name} contains multiple mappings for key "{target}"')
    return JwtMethod(
        keys=(*(_key(at, pem) for at, pem in enumerate(pems)), *_key_set(given.get("JWKS"))),
        jwks_url=jwks_url,
        discovery_url=discovery_url.rstrip("/"),
        authorities_pem=authorities,
        bounds=Bounds(
            issuer=_string(given, "BoundIssuer"),
            audiences=_strings(given, "BoundAudiences"),
            expiration_leeway_s=_seconds(given, "ExpirationLeeway"),
            not_before_leeway_s=_seconds(given, "NotBeforeLeeway"),
            clock_skew_s=_seconds(given, "ClockSkewLeeway"),
        ),
        # As with the reference, who finds the keys by discovery begins with RS256.
        algorithms=algorithms or (("RS256",) if discovery_url else ()),
        mappings=mappings,
        list_mappings=lists,
        client=_client(given) if type == OIDC else None,
    )


def _client(given: Mapping[str, Any]) -> Client:
    return Client(
        id=_string(given, "OIDCClientID"),
        secret=_string(given, "OIDCClientSecret"),
        redirects=_strings(given, "AllowedRedirectURIs"),
        scopes=_strings(given, "OIDCScopes"),
        acr_values=_strings(given, "OIDCACRValues"),
    )


def _check_oidc(given: Mapping[str, Any], discovery_url: str) -> None:
    for name in ("OIDCDiscoveryURL", "OIDCClientID", "OIDCClientSecret", "AllowedRedirectURIs"):
        if not given.get(name):
            raise MethodError(f"'{name}' must be set for type \"oidc\"")
    for name in ("JWKS", "JWKSURL", "JWKSCACert", "JWTValidationPubKeys", "BoundIssuer",
                 "ExpirationLeeway", "NotBeforeLeeway", "ClockSkewLeeway"):  # fmt: skip
        if given.get(name):
            raise MethodError(f"'{name}' must not be set for type \"oidc\"")
    for url in _strings(given, "AllowedRedirectURIs"):
        if not urlsplit(url).scheme:
            raise MethodError(f"Invalid AllowedRedirectURIs provided: [{url}]")
    _check_url("OIDCDiscoveryURL", discovery_url)


def _key(at: int, pem: str) -> jwt.Key:
    try:
        return jwt.read_pem(pem)
    except jwt.JwtError as error:
        raise MethodError(f"error parsing public key #{at}: {error}") from None


def _key_set(given: Json) -> tuple[jwt.Key, ...]:
    """The keys of a set (RFC 7517, section 5) that stands in the configuration: ours. An object, or
    the text of a file."""
    if not given:
        return ()
    try:
        found = json.loads(given) if isinstance(given, str) else given
        keys = jwt.read_jwks(found)
    except (ValueError, RecursionError) as error:
        raise MethodError(f"error parsing JWKS: {error}") from None
    if not keys:
        raise MethodError("error parsing JWKS: there is no key in it that can be used")
    return keys


# -- kubernetes ----------------------------------------------------------------------------------


def _kubernetes(given: Mapping[str, Any]) -> KubernetesMethod:
    host, own = _string(given, "Host"), _string(given, "ServiceAccountJWT")
    if not host:
        raise MethodError("Config.Host is required")
    if not _string(given, "CACert"):
        raise MethodError("Config.CACert is required")
    authorities = _authorities(given, "CACert")
    if not own:
        raise MethodError("Config.ServiceAccountJWT is required")
    try:
        jwt.parse(own, ours_to_verify=False)  # the cluster that gave it out does
    except jwt.JwtError as error:
        raise MethodError(f"Config.ServiceAccountJWT is not a valid JWT: {error}") from None
    _check_url("Config.Host", host)
    return KubernetesMethod(host=host.rstrip("/"), authorities_pem=authorities, own_token=own)


# -- values --------------------------------------------------------------------------------------


def _check_url(name: str, url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise MethodError(f"{name} is no URL of http or https")


def _authorities(given: Mapping[str, Any], name: str) -> str:
    pem = _string(given, name)
    if pem:
        try:
            x509.load_pem_x509_certificates(pem.encode("utf-8", "replace"))
        except ValueError:
            raise MethodError(f"error parsing {name}: no certificate in PEM form") from None
    return pem


def _string(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise MethodError(f"error decoding config: '{name}' expected type 'string'")
    return value


def _strings(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = given.get(name, ())
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(each, str) for each in items):
        raise MethodError(f"error decoding config: '{name}' expected a list of strings")
    if len(items) > _ITEMS_MAX:
        raise MethodError(f"'{name}' has more than {_ITEMS_MAX} items")
    return tuple(items)


def _mapping(given: Mapping[str, Any], name: str) -> dict[str, str]:
    value = given.get(name, {})
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise MethodError(f"error decoding config: '{name}' expected a map of strings")
    if len(value) > _ITEMS_MAX:
        raise MethodError(f"'{name}' has more than {_ITEMS_MAX} items")
    return dict(value)


def _seconds(given: Mapping[str, Any], name: str) -> float:
    value = given.get(name, 0)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) / 1e9
    try:
        return parse_s(value) if isinstance(value, str) and value else 0.0
    except DurationError as error:
        raise MethodError(f"error decoding config: '{name}': {error}") from None
