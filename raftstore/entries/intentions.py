"""service-intentions (mesh contract B.1). ``audit`` is ours: let through, and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raftstore.entries.errors import Invalid
from raftstore.entries.rules import (
    MATCH_HEADER,
    META_VALUE_MAX,
    WILDCARD,
    check_headers,
    check_meta,
    check_methods,
    check_path,
    check_regex_length,
    need_name,
    quoted,
    upper_methods,
)
from raftstore.entries.shape import (
    Field,
    Shape,
    integer,
    record,
    records,
    several,
    text,
    text_map,
    texts,
)

ACTIONS = frozenset({"allow", "deny", "audit"})
#: Sources of one destination, permissions of one source.
SOURCES_MAX = 4096
PERMISSIONS_MAX = 1024


def _jwt() -> Field:
    return record(
        "JWT",
        records(
            "Providers",
            text("Name"),
            records("VerifyClaims", texts("Path"), text("Value")),
        ),
    )


PERMISSIONS = records(
    "Permissions",
    text("Action", always=True),
    record(
        "HTTP",
        text("PathExact"),
        text("PathPrefix"),
        text("PathRegex"),
        MATCH_HEADER,
        texts("Methods"),
    ),
    _jwt(),
)
SOURCES = records(
    "Sources",
    text("Name", always=True),
    text("Namespace"),
    text("Partition"),
    text("Peer"),
    text("SamenessGroup"),
    text("Action"),
    PERMISSIONS,
    integer("Precedence", always=True),
    text("LegacyID"),
    text("Type", always=True),
    text("Description"),
    text_map("LegacyMeta"),
    text("LegacyCreateTime"),
    text("LegacyUpdateTime"),
    always=True,
)
SHAPE = Shape((SOURCES, _jwt()))


def precedence(source: str, destination: str) -> int:
    """How specific a pair is: 9, 8, 6 or 5, exact destinations before exact sources.

    The gaps belong to wildcard namespaces, which cannot be written without namespaces
    (mesh contract B.2).
    """
    top = 6 if destination == WILDCARD else 9
    return top - 1 if source == WILDCARD else top


def normalise(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Types, precedence, methods in upper case; the winner first, ties as they came."""
    found = dict(content)
    if "Sources" in found:
        sources = [_normal_source(name, source) for source in found["Sources"]]
        found["Sources"] = sorted(sources, key=lambda source: -int(source["Precedence"]))
    return found


def _normal_source(destination: str, source: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(source)
    for legacy in ("LegacyID", "LegacyCreateTime", "LegacyUpdateTime"):
        found.pop(legacy, None)
    for only in ("Namespace", "Partition"):
        if found.get(only) == "default":
            del found[only]
    found.setdefault("Type", "consul")
    found["Precedence"] = precedence(found.get("Name", ""), destination)
    if "Permissions" in found:
        found["Permissions"] = normal_permissions(found["Permissions"])
    return found


def normal_permissions(permissions: Any) -> list[dict[str, Any]]:
    """Permissions with methods in upper case."""
    return [
        {**one, "HTTP": upper_methods(one["HTTP"])} if "HTTP" in one else dict(one)
        for one in permissions
    ]


def check(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse intentions that cannot be."""
    need_name(name)
    if WILDCARD in name and name != WILDCARD:
        raise Invalid("Name: wildcard character '*' cannot be used with partial values")
    _check_jwt(content)
    check_meta(meta)
    sources = content.get("Sources", ())
    if not sources:
        raise Invalid("At least one source is required")
    if len(sources) > SOURCES_MAX:
        raise Invalid(f"Sources exceeds maximum element count {SOURCES_MAX}")
    seen: set[str] = set()
    for at, source in enumerate(sources):
        check_source(f"Sources[{at}]", name, source)
        key = source["Name"].lower()
        if key in seen:
            raise Invalid(f"Sources[{at}] defines {quoted(source['Name'])} more than once")
        seen.add(key)


def check_source(label: str, destination: str, source: Mapping[str, Any]) -> None:
    """Refuse one source."""
    name = source.get("Name", "")
    if not name:
        raise Invalid(f"{label}.Name is required")
    if WILDCARD in name and name != WILDCARD:
        raise Invalid(f"{label}.Name: wildcard character '*' cannot be used with partial values")
    for other, why in (
        ("Namespace", "there are no namespaces"),
        ("Partition", "there are no partitions"),
        ("Peer", "there are no peers"),
        ("SamenessGroup", "there are no sameness groups"),
    ):
        if source.get(other):
            raise Invalid(f"{label}.{other}: {why}")
    if len(source.get("Description", "").encode()) > META_VALUE_MAX:
        raise Invalid(f"{label}.Description exceeds maximum length {META_VALUE_MAX}")
    if source.get("LegacyMeta"):
        raise Invalid(f"{label}.LegacyMeta must be omitted")
    action, permissions = source.get("Action", ""), source.get("Permissions", ())
    if not permissions and action not in ACTIONS:
        raise Invalid(f"{label}.Action must be set to 'allow' or 'deny'")
    if permissions and action:
        raise Invalid(f"{label}.Action must be omitted if Permissions are specified")
    if permissions and destination == WILDCARD:
        raise Invalid(
            f"{label}.Permissions cannot be specified on intentions with wildcarded destinations"
        )
    if source.get("Type", "consul") != "consul":
        raise Invalid(f"{label}.Type must be set to 'consul'")
    if len(permissions) > PERMISSIONS_MAX:
        raise Invalid(f"{label}.Permissions exceeds maximum element count {PERMISSIONS_MAX}")
    for at, permission in enumerate(permissions):
        _check_permission(f"{label}.Permissions[{at}]", permission)


def _check_permission(label: str, given: Mapping[str, Any]) -> None:
    if given.get("Action", "") not in ACTIONS:
        raise Invalid(f"{label}.Action must be set to 'allow' or 'deny'")
    http = given.get("HTTP")
    if http is None:
        raise Invalid(f"{label}.HTTP is required")
    label = f"{label}.HTTP"
    paths = check_path(http, label=f"{label}.", one_of=label)
    check_headers(http.get("Header", ()), f"{label}.")
    check_methods(http.get("Methods", ()), f"{label}.")
    if not paths and not http.get("Header") and not http.get("Methods"):
        raise Invalid(f"{label} should not be empty")
    check_regex_length(http.get("PathRegex", ""), f"{label}.PathRegex")
    for at, header in enumerate(http.get("Header", ())):
        check_regex_length(header.get("Regex", ""), f"{label}.Header[{at}].Regex")
    _check_jwt(given)


def _check_jwt(given: Mapping[str, Any]) -> None:
    problems = [
        "JWT provider name is required"
        for provider in given.get("JWT", {}).get("Providers", ())
        if not provider.get("Name")
    ]
    if problems:
        raise Invalid(several(problems))


def providers(content: Mapping[str, Any]) -> Iterator[str]:
    """The JWT providers that must be there."""
    permissions = [
        permission
        for source in content.get("Sources", ())
        for permission in source.get("Permissions", ())
    ]
    for given in (content, *permissions):
        for provider in given.get("JWT", {}).get("Providers", ()):
            yield provider.get("Name", "")
