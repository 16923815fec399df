"""Fields and rules that several kinds share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from raftstore.entries.errors import Invalid
from raftstore.entries.shape import (
    boolean,
    duration,
    free,
    integer,
    record,
    records,
    several,
    text,
    text_map,
    texts,
    unsigned,
)

WILDCARD = "*"
META_PAIRS_MAX = 64
META_KEY_MAX = 128
META_VALUE_MAX = 512
METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"}
)
HTTP_LIKE = frozenset({"http", "http2", "grpc"})
#: Characters of a pattern (mesh contract B.5).
REGEX_MAX = 1024
_TLS_VERSIONS = ("TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3")
_TLS_AUTO = "TLS_AUTO"
_TLS_OLD = _TLS_VERSIONS[:2]

MESH_GATEWAY = record("MeshGateway", text("Mode"), always=True)
EXPOSE = record(
    "Expose",
    boolean("Checks"),
    records(
        "Paths",
        integer("ListenerPort"),
        text("Path"),
        integer("LocalPathPort"),
        text("Protocol"),
        boolean("ParsedFromCheck"),
    ),
    always=True,
)
TRANSPARENT_PROXY = record(
    "TransparentProxy", integer("OutboundListenerPort"), boolean("DialedDirectly"), always=True
)
HEADER_FIELDS = (text_map("Add"), text_map("Set"), texts("Remove"))
REQUEST_HEADERS = record("RequestHeaders", *HEADER_FIELDS)
RESPONSE_HEADERS = record("ResponseHeaders", *HEADER_FIELDS)
#: Read back as the reference shows it, in nanoseconds: its record has no text form.
PASSIVE_HEALTH_CHECK = record(
    "PassiveHealthCheck",
    duration("Interval", raw=True),
    unsigned("MaxFailures"),
    unsigned("EnforcingConsecutive5xx", kept=True),
    unsigned("MaxEjectionPercent", kept=True),
    duration("BaseEjectionTime", raw=True, kept=True),
)
LOCALITY = record("PrioritizeByLocality", text("Mode"))
EXTENSIONS = records(
    "EnvoyExtensions",
    text("Name", always=True),
    boolean("Required"),
    free("Arguments"),
    text("ConsulVersion"),
    text("EnvoyVersion"),
)
MATCH_HEADER = records(
    "Header",
    text("Name", always=True),
    boolean("Present"),
    text("Exact"),
    text("Prefix"),
    text("Suffix"),
    text("Contains"),
    text("Regex"),
    boolean("Invert"),
    boolean("IgnoreCase"),
)
TLS_RANGE = (text("TLSMinVersion"), text("TLSMaxVersion"), texts("CipherSuites"))


def quoted(value: str) -> str:
    """A text as Go's %q shows it, as far as names go."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def need_name(name: str) -> None:
    """Refuse an entry without a name."""
    if not name:
        raise Invalid("Name is required")


def meta_problems(meta: Mapping[str, str] | None) -> list[str]:
    """What is wrong with an entry's meta."""
    found = []
    if len(meta or {}) > META_PAIRS_MAX:
        found.append(f"Meta exceeds maximum element count {META_PAIRS_MAX}")
    for key, value in sorted((meta or {}).items()):
        if len(key.encode()) > META_KEY_MAX:
            found.append(f"Meta key {quoted(key)} exceeds maximum length {META_KEY_MAX}")
        if len(value.encode()) > META_VALUE_MAX:
            found.append(
                f"Meta value for key {quoted(key)} exceeds maximum length {META_VALUE_MAX}"
            )
    return found


def check_meta(meta: Mapping[str, str] | None) -> None:
    """Refuse too much meta."""
    refuse_all(meta_problems(meta))


def refuse_all(problems: Iterable[str]) -> None:
    """Refuse with all of these, if any."""
    found = list(problems)
    if found:
        raise Invalid(several(found))


def upper_methods(http: Mapping[str, Any]) -> dict[str, Any]:
    """A match whose methods are in upper case."""
    if "Methods" not in http:
        return dict(http)
    return {**http, "Methods": [method.upper() for method in http["Methods"]]}


def check_path(http: Mapping[str, Any], *, label: str, one_of: str) -> int:
    """Refuse a bad path; how many forms of it there are (0 or 1)."""
    for form in ("PathExact", "PathPrefix"):
        path = http.get(form)
        if path and not path.startswith("/"):
            raise Invalid(f"{label}{form} doesn't start with '/': {quoted(path)}")
    count = sum(1 for form in ("PathExact", "PathPrefix", "PathRegex") if http.get(form))
    if count > 1:
        raise Invalid(
            f"{one_of} should only contain at most one of PathExact, PathPrefix, or PathRegex"
        )
    return count


def check_headers(headers: Sequence[Mapping[str, Any]], label: str) -> None:
    """Refuse a header match without a name, or with other than one form."""
    for at, header in enumerate(headers):
        if not header.get("Name"):
            raise Invalid(f"{label}Header[{at}] missing required Name field")
        forms = ("Present", "Exact", "Prefix", "Suffix", "Contains", "Regex")
        if sum(1 for form in forms if header.get(form)) != 1:
            raise Invalid(
                f"{label}Header[{at}] should only contain one of "
                "Present, Exact, Prefix, Suffix, or Regex"
            )
        if header.get("IgnoreCase") and (header.get("Present") or header.get("Regex")):
            raise Invalid(
                f"{label}Header[{at}] should set one of Exact, Prefix, Suffix, or Contains "
                "when using IgnoreCase"
            )


def check_methods(methods: Sequence[str], label: str) -> None:
    """Refuse methods that are none, or stand there twice."""
    seen: set[str] = set()
    for method in methods:
        if method not in METHODS:
            raise Invalid(f"{label}Methods contains an invalid method {quoted(method)}")
        if method in seen:
            raise Invalid(f"{label}Methods contains {quoted(method)} more than once")
        seen.add(method)


def check_tls(given: Mapping[str, Any]) -> None:
    """Refuse a range of TLS versions that cannot be, or that is not safe."""
    low, high = given.get("TLSMinVersion", ""), given.get("TLSMaxVersion", "")
    for version in (low, high):
        if version and version != _TLS_AUTO and version not in _TLS_VERSIONS:
            raise Invalid(f"no matching TLS version found for {version}")
        if version in _TLS_OLD:
            raise Invalid(f"TLS versions below TLSv1_2 are not safe: {version}")
    ranks = {version: rank for rank, version in enumerate(_TLS_VERSIONS)}
    if high in ranks and ranks[high] < ranks.get(low, 0):
        raise Invalid(
            f"configuring max version {high} less than the configured min version {low} is invalid"
        )
    if given.get("CipherSuites") and low == "TLSv1_3":
        raise Invalid(
            "configuring CipherSuites is only applicable to connections negotiated with TLS 1.2 "
            f"or earlier, TLSMinVersion is set to {low}"
        )


def check_regex_length(pattern: str, where: str) -> None:
    """Refuse a pattern that is longer than any honest one."""
    if len(pattern) > REGEX_MAX:
        raise Invalid(f"{where} exceeds maximum length {REGEX_MAX}")
