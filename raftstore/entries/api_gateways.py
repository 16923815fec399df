"""Gateways for HTTP APIs, their routes and certificates, and groups of datacenters (mesh contract
C.7; Consul's kinds api-gateway, bound-api-gateway, http-route, tcp-route, inline-certificate,
file-system-certificate and sameness-group).

They are kept for tools that write and read them. Nothing here acts on them yet, so nothing sets
their ``Status``: what a client wrote is what is read.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raftstore.entries.errors import Invalid
from raftstore.entries.rules import (
    HEADER_FIELDS,
    METHODS,
    PASSIVE_HEALTH_CHECK,
    check_meta,
    check_regex_length,
    need_name,
    quoted,
)
from raftstore.entries.shape import (
    Field,
    Shape,
    boolean,
    duration,
    integer,
    numbers,
    record,
    records,
    text,
    texts,
    unsigned,
)

GATEWAY = "api-gateway"
HTTP_ROUTE = "http-route"
TCP_ROUTE = "tcp-route"
#: Certificates that a listener may name.
CERTIFICATE_KINDS = ("inline-certificate", "file-system-certificate")
#: The field of an inline certificate that history does not show.
PRIVATE_KEY = "PrivateKey"
_LISTENER = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LISTENER_MAX = 253
_LABEL = r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_HOST_MAX = 253
_PORT_MAX = 65535
_HEADER_MATCHES = ("exact", "prefix", "present", "regex", "suffix")
_PATH_MATCHES = ("exact", "prefix", "regex")
_QUERY_MATCHES = ("exact", "present", "regex")
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)\s-----END \1-----", re.DOTALL)


def _references(name: str) -> Field:
    """Other entries that this one names."""
    return records(
        name,
        text("Kind", always=True),
        text("Name", always=True),
        text("SectionName", always=True),
        text("Partition"),
        text("Namespace"),
        always=True,
    )


#: What a controller says of an entry.
_STATUS = record(
    "Status",
    records(
        "Conditions",
        text("Type", always=True),
        text("Status", always=True),
        text("Reason", always=True),
        text("Message", always=True),
        record(
            "Resource",
            text("Kind", always=True),
            text("Name", always=True),
            text("SectionName", always=True),
            text("Partition"),
            text("Namespace"),
        ),
        text("LastTransitionTime"),
        always=True,
    ),
    always=True,
)
_SDS = record("SDS", text("ClusterName"), text("CertResource"))
_LIMITS = (
    unsigned("MaxConnections", kept=True),
    unsigned("MaxPendingRequests", kept=True),
    unsigned("MaxConcurrentRequests", kept=True),
    PASSIVE_HEALTH_CHECK,
)
_PROVIDERS = records(
    "Providers", text("Name"), records("VerifyClaims", texts("Path"), text("Value"))
)
_JWT = record("JWT", _PROVIDERS)
_TLS_VERSIONS = (text("MaxVersion"), text("MinVersion"), texts("CipherSuites"))

GATEWAY_SHAPE = Shape(
    (
        record(
            "TLS", boolean("Enabled", always=True), _SDS, text("TLSMinVersion"),
            text("TLSMaxVersion"), texts("CipherSuites"), always=True,
        ),
        records(
            "Listeners",
            text("Name", always=True),
            text("Hostname", always=True),
            integer("Port", always=True),
            text("Protocol", always=True),
            record(
                "TLS",
                _references("Certificates"),
                _SDS,
                *_TLS_VERSIONS,
                always=True,
            ),
            record("Override", _JWT),
            record("Default", _JWT),
            unsigned("MaxRequestHeadersKB", kept=True),
            always=True,
        ),
        record("Defaults", *_LIMITS),
        record("ExtAuthz", boolean("Enabled", always=True)),
        _STATUS,
    )
)  # fmt: skip
BOUND_SHAPE = Shape(
    (
        records(
            "Listeners",
            text("Name", always=True),
            _references("Routes"),
            _references("Certificates"),
            always=True,
        ),
    )
)


def _processing(name: str) -> Field:
    return record(
        name, text("HeadersMode"), text("BodyMode"), text("TrailersMode"), integer("MaxBodyBytes")
    )


_HEADERS = records("Headers", *HEADER_FIELDS, always=True)
_FILTERS = record(
    "Filters",
    _HEADERS,
    record("URLRewrite", text("Path", always=True)),
    record(
        "RetryFilter",
        unsigned("NumRetries", always=True),
        texts("RetryOn", always=True),
        numbers("RetryOnStatusCodes"),
        boolean("RetryOnConnectFailure", always=True),
    ),
    record(
        "TimeoutFilter",
        duration("RequestTimeout", raw=True),
        duration("IdleTimeout", raw=True),
    ),
    _JWT,
    records(
        "ExtProc",
        text("StatPrefix"),
        text("Mode"),
        record("Overrides", record("Processing", _processing("Request"), _processing("Response"))),
    ),
    record("ExtAuthz", boolean("Enabled", always=True)),
    always=True,
)
_RESPONSE_FILTERS = record("ResponseFilters", _HEADERS, always=True)
_SERVICE = (
    text("Name", always=True),
    record("TLS", _SDS),
    record("Limits", *_LIMITS),
    text("Partition"),
    text("Namespace"),
)
HTTP_ROUTE_SHAPE = Shape(
    (
        _references("Parents"),
        records(
            "Rules",
            _FILTERS,
            _RESPONSE_FILTERS,
            records(
                "Matches",
                records(
                    "Headers", text("Match", always=True), text("Name", always=True),
                    text("Value", always=True), always=True,
                ),
                text("Method", always=True),
                record(
                    "Path", text("Match", always=True), text("Value", always=True), always=True
                ),
                records(
                    "Query", text("Match", always=True), text("Name", always=True),
                    text("Value", always=True), always=True,
                ),
                always=True,
            ),
            records(
                "Services",
                *_SERVICE[:1],
                integer("Weight", always=True),
                _FILTERS,
                _RESPONSE_FILTERS,
                *_SERVICE[1:],
                always=True,
            ),
            always=True,
        ),
        texts("Hostnames", always=True),
        _STATUS,
    )
)  # fmt: skip
TCP_ROUTE_SHAPE = Shape(
    (_references("Parents"), records("Services", *_SERVICE, always=True), _STATUS)
)
INLINE_SHAPE = Shape((text("Certificate", always=True), text(PRIVATE_KEY, always=True)))
FILE_SHAPE = Shape((text("Certificate", always=True), text(PRIVATE_KEY, always=True), _STATUS))
SAMENESS_SHAPE = Shape(
    (
        boolean("DefaultForFailover"),
        boolean("IncludeLocal"),
        records("Members", text("Partition"), text("Peer"), always=True),
    )
)


# -- normal forms --------------------------------------------------------------------------------


def normalise_gateway(_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Protocols in lower case; a certificate without a kind is an inline one."""
    found = dict(content)
    if "Listeners" in found:
        found["Listeners"] = [_listener(one) for one in found["Listeners"]]
    return found


def _listener(given: Mapping[str, Any]) -> dict[str, Any]:
    found = {**given}
    if "Protocol" in found:
        found["Protocol"] = found["Protocol"].lower()
    certificates = found.get("TLS", {}).get("Certificates")
    if certificates:
        named = [{"Kind": CERTIFICATE_KINDS[0], **one} for one in certificates]
        found["TLS"] = {**found["TLS"], "Certificates": named}
    return found


def normalise_tcp_route(_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """A parent without a kind is an API gateway."""
    return _with_parents(content)


def normalise_http_route(_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults filled in: the kind of parents, the path "/", a weight of 1."""
    found = _with_parents(content)
    if "Hostnames" in found:
        found["Hostnames"] = [host.lower() for host in found["Hostnames"]]
    if "Rules" in found:
        found["Rules"] = [_rule(one) for one in found["Rules"]]
    return found


def _with_parents(content: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(content)
    if "Parents" in found:
        found["Parents"] = [{"Kind": GATEWAY, **one} for one in found["Parents"]]
    return found


def _rule(given: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(given)
    if "Matches" in found:
        found["Matches"] = [_match(one) for one in found["Matches"]]
    if "Services" in found:
        found["Services"] = [
            {**one, "Weight": one["Weight"] if one.get("Weight", 0) > 0 else 1}
            for one in found["Services"]
        ]
    return found


def _match(given: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(given)
    if "Method" in found:
        found["Method"] = found["Method"].upper()
    path = {"Match": "prefix", **found.get("Path", {})}
    if not path.get("Value") and path["Match"] == "prefix":
        path["Value"] = "/"
    return {**found, "Path": path}


# -- rules ---------------------------------------------------------------------------------------


def check_gateway(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse an API gateway that cannot be."""
    need_name(name)
    check_meta(meta)
    names: set[str] = set()
    ports: dict[int, str] = {}
    for listener in content.get("Listeners", ()):
        label = listener.get("Name", "")
        if label in names:
            raise Invalid(f"found multiple listeners with the name {quoted(label)}")
        names.add(label)
        if label and (len(label) > _LISTENER_MAX or not _LISTENER.fullmatch(label)):
            raise Invalid(
                f"listener name {quoted(label)} is invalid, must be at most {_LISTENER_MAX} "
                "lowercase letters, digits, '-' and '.'"
            )
        _check_listener(listener)
        # Listeners of HTTP may share a port: requests name their host.
        port, protocol = listener["Port"], listener["Protocol"]
        if port in ports and (ports[port], protocol) != ("http", "http"):
            raise Invalid(f"listeners on port {port} cannot be merged: only http may share a port")
        ports[port] = protocol


def _check_listener(listener: Mapping[str, Any]) -> None:
    protocol, host = listener.get("Protocol", ""), listener.get("Hostname", "")
    if protocol not in {"http", "tcp"}:
        raise Invalid(
            f"unsupported listener protocol {quoted(protocol)}, must be one of 'tcp', or 'http'"
        )
    if protocol == "tcp" and host:
        raise Invalid("hostname specification is not supported when using TCP")
    if not 1 <= listener.get("Port", 0) <= _PORT_MAX:
        raise Invalid(f"listener port {listener.get('Port', 0)} not in the range 1-{_PORT_MAX}")
    if host not in {"", "*"}:
        _check_host(host)
    for one in listener.get("TLS", {}).get("Certificates", ()):
        if one.get("Kind") not in CERTIFICATE_KINDS:
            raise Invalid(
                f"unsupported certificate kind: {quoted(one.get('Kind', ''))}, must be "
                "'inline-certificate' or 'file-system-certificate'"
            )
        if not one.get("Name"):
            raise Invalid("certificate reference must have a name")


def _check_host(host: str) -> None:
    if len(host) > _HOST_MAX or not _HOST.fullmatch(host.lower()):
        raise Invalid(f"host {quoted(host)} must be a valid DNS hostname")


def check_bound(name: str, _content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse one without a name."""
    need_name(name)
    check_meta(meta)


def check_tcp_route(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse a route of connections that cannot be."""
    need_name(name)
    check_meta(meta)
    _check_parents(content.get("Parents", ()))
    if len(content.get("Services", ())) > 1:
        raise Invalid("tcp-route currently only supports one service")
    _check_services(content.get("Services", ()))


def check_http_route(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse a route of requests that cannot be."""
    need_name(name)
    check_meta(meta)
    _check_parents(content.get("Parents", ()))
    for host in content.get("Hostnames", ()):
        _check_host(host)
    for at, rule in enumerate(content.get("Rules", ())):
        for place, match in enumerate(rule.get("Matches", ())):
            _check_match(match, f"Rule[{at}].Match[{place}]")
        _check_services(rule.get("Services", ()))


def _check_parents(parents: Sequence[Mapping[str, Any]]) -> None:
    seen = set()
    for parent in parents:
        if parent.get("Kind") != GATEWAY:
            kind = quoted(parent.get("Kind", ""))
            raise Invalid(f"unsupported parent kind: {kind}, must be '{GATEWAY}'")
        if not parent.get("Name"):
            raise Invalid("route parent must have a name")
        key = (parent["Name"], parent.get("SectionName", ""))
        if key in seen:
            raise Invalid(f"route parents must be unique: {quoted(parent['Name'])} is given twice")
        seen.add(key)


def _check_services(services: Sequence[Mapping[str, Any]]) -> None:
    if not all(service.get("Name") for service in services):
        raise Invalid("service must have a name")


def _check_match(match: Mapping[str, Any], label: str) -> None:
    if match.get("Method", "") and match["Method"] not in METHODS:
        raise Invalid(f"{label} contains an invalid method {quoted(match['Method'])}")
    path = match.get("Path", {})
    if path.get("Match") not in _PATH_MATCHES:
        raise Invalid(f"{label}.Path type should be one of {', '.join(_PATH_MATCHES)}")
    if path["Match"] == "regex":
        check_regex_length(path.get("Value", ""), f"{label}.Path")
    elif not path.get("Value", "").startswith("/"):
        raise Invalid(f"{label}.Path value must begin with '/': {quoted(path.get('Value', ''))}")
    for words, known in (("Headers", _HEADER_MATCHES), ("Query", _QUERY_MATCHES)):
        for place, one in enumerate(match.get(words, ())):
            where = f"{label}.{words}[{place}]"
            if one.get("Match") not in known:
                raise Invalid(f"{where} type should be one of {', '.join(known)}")
            if not one.get("Name"):
                raise Invalid(f"{where} missing required Name field")
            if one["Match"] == "regex":
                check_regex_length(one.get("Value", ""), where)


def patterns(content: Mapping[str, Any]) -> Iterator[str]:
    """Every regular expression in a route."""
    for rule in content.get("Rules", ()):
        for match in rule.get("Matches", ()):
            for one in (match.get("Path", {}), *match.get("Headers", ()), *match.get("Query", ())):
                if one.get("Match") == "regex":
                    yield one.get("Value", "")


def check_inline(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse what are no certificate and key in PEM. Whether they belong together is for whoever
    takes the entry in: all servers must judge alike, whatever library they have."""
    need_name(name)
    check_meta(meta)
    if "CERTIFICATE" not in _pem(content.get("Certificate", "")):
        raise Invalid("failed to parse certificate PEM")
    if not any(label.endswith("PRIVATE KEY") for label in _pem(content.get(PRIVATE_KEY, ""))):
        raise Invalid("failed to parse private key PEM")


def _pem(given: str) -> tuple[str, ...]:
    """The labels of the blocks in a text (RFC 7468), () when one of them is no base64."""
    found = []
    for label, block in _PEM.findall(given):
        try:
            base64.b64decode("".join(block.split()), validate=True)
        except (binascii.Error, ValueError):
            return ()
        found.append(label)
    return tuple(found)


def check_file(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse a certificate in files without both of them."""
    need_name(name)
    check_meta(meta)
    if not content.get("Certificate"):
        raise Invalid("certificate path is required")
    if not content.get(PRIVATE_KEY):
        raise Invalid("private key path is required")


def check_sameness(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse a group that cannot be."""
    need_name(name)
    check_meta(meta)
    for at, member in enumerate(content.get("Members", ())):
        if bool(member.get("Partition")) == bool(member.get("Peer")):
            raise Invalid(f"Members[{at}]: must define exactly one of Partition or Peer")
