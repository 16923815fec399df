"""jwt-provider (mesh contract B.5): who signs the tokens that intentions may ask for."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from raftstore.entries.errors import Invalid
from raftstore.entries.rules import check_meta, need_name, quoted
from raftstore.entries.shape import (
    Shape,
    boolean,
    duration,
    integer,
    record,
    records,
    text,
    texts,
)

CLOCK_SKEW_S = 30
_DISCOVERY = frozenset({"", "STRICT_DNS", "STATIC", "LOGICAL_DNS", "EDS", "ORIGINAL_DST"})

SHAPE = Shape(
    (
        record(
            "JSONWebKeySet",
            record("Local", text("JWKS"), text("Filename")),
            record(
                "Remote",
                text("URI"),
                integer("RequestTimeoutMs"),
                duration("CacheDuration", raw=True),
                boolean("FetchAsynchronously"),
                record(
                    "RetryPolicy",
                    integer("NumRetries"),
                    record(
                        "RetryPolicyBackOff",
                        duration("BaseInterval", raw=True),
                        duration("MaxInterval", raw=True),
                    ),
                ),
                record(
                    "JWKSCluster",
                    text("DiscoveryType"),
                    record(
                        "TLSCertificates",
                        record(
                            "CaCertificateProviderInstance",
                            text("InstanceName"),
                            text("CertificateName"),
                        ),
                        record(
                            "TrustedCA",
                            text("Filename"),
                            text("EnvironmentVariable"),
                            text("InlineString"),
                            text("InlineBytes"),
                        ),
                    ),
                    duration("ConnectTimeout", raw=True),
                ),
            ),
        ),
        text("Issuer"),
        texts("Audiences"),
        records(
            "Locations",
            record("Header", text("Name"), text("ValuePrefix"), boolean("Forward")),
            record("QueryParam", text("Name")),
            record("Cookie", text("Name")),
        ),
        record("Forwarding", text("HeaderName"), boolean("PadForwardPayloadHeader", always=True)),
        integer("ClockSkewSeconds"),
        record("CacheConfig", integer("Size")),
    )
)


def normalise(_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The allowed skew of clocks is filled in."""
    return {"ClockSkewSeconds": CLOCK_SKEW_S, **content}


def check(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse a provider that cannot be."""
    need_name(name)
    check_meta(meta)
    keys = content.get("JSONWebKeySet")
    if keys is None:
        raise Invalid("JSONWebKeySet is required")
    if ("Local" in keys) == ("Remote" in keys):
        raise Invalid("must specify exactly one of Local or Remote JSON Web key set")
    if "Local" in keys:
        _check_local(keys["Local"])
    else:
        _check_remote(keys["Remote"])
    for location in content.get("Locations", ()):
        _check_location(location)
    if "Forwarding" in content and not content["Forwarding"].get("HeaderName"):
        raise Invalid("Header name required for forwarding config")
    if content.get("ClockSkewSeconds", 0) < 0:
        raise Invalid("ClockSkewSeconds cannot be negative")


def _check_local(given: Mapping[str, Any]) -> None:
    if bool(given.get("JWKS")) == bool(given.get("Filename")):
        raise Invalid("must specify exactly one of String or filename for local keyset")
    if given.get("JWKS"):
        try:
            base64.b64decode(given["JWKS"], validate=True)
        except (binascii.Error, ValueError):
            raise Invalid("JWKS must be valid base64 encoded string") from None


def _check_remote(given: Mapping[str, Any]) -> None:
    uri = given.get("URI", "")
    if not uri:
        raise Invalid("Remote JWKS URI is required")
    try:
        parts = urlsplit(uri)
    except ValueError:
        parts = None
    if parts is None or not (parts.scheme or uri.startswith("/")):
        raise Invalid(
            f'Remote JWKS URI is invalid: parse "{uri}": invalid URI for request, uri: {uri}'
        )
    backoff = given.get("RetryPolicy", {}).get("RetryPolicyBackOff", {})
    if backoff.get("MaxInterval") and backoff.get("BaseInterval", 0) > backoff["MaxInterval"]:
        raise Invalid(
            "retry policy backoff's MaxInterval should be greater or equal to BaseInterval"
        )
    cluster = given.get("JWKSCluster", {})
    if cluster.get("DiscoveryType", "") not in _DISCOVERY:
        raise Invalid(
            f"unsupported jwks cluster discovery type: {quoted(cluster['DiscoveryType'])}"
        )
    trust = cluster.get("TLSCertificates")
    if trust is None:
        return
    if ("CaCertificateProviderInstance" in trust) == ("TrustedCA" in trust):
        raise Invalid(
            "must specify exactly one of: CaCertificateProviderInstance or TrustedCA "
            "for JKWS' TLSCertificates"
        )
    forms = ("Filename", "EnvironmentVariable", "InlineString", "InlineBytes")
    authority = trust.get("TrustedCA")
    if authority is not None and sum(1 for form in forms if authority.get(form)) != 1:
        raise Invalid(
            "must specify exactly one of: Filename, EnvironmentVariable, InlineString or "
            "InlineBytes for JWKS' TrustedCA"
        )


def _check_location(given: Mapping[str, Any]) -> None:
    if len(given) != 1:
        raise Invalid("must set exactly one of: JWT location header, query param or cookie")
    ((kind, place),) = given.items()
    words = {"Header": "header", "QueryParam": "query param", "Cookie": "cookie"}[kind]
    if not place.get("Name"):
        raise Invalid(f"JWT location {words} name must be specified")
