"""service-resolver (mesh contract C.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from raftstore.durations import format_ns
from raftstore.entries.errors import Invalid
from raftstore.entries.rules import LOCALITY, check_meta, need_name, quoted
from raftstore.entries.shape import (
    Shape,
    boolean,
    duration,
    record,
    record_map,
    records,
    text,
    texts,
    unsigned,
)

HASHING = frozenset({"maglev", "ring_hash", "source_ip_hash"})
_POLICIES = HASHING | frozenset(
    {
        "", "random", "round_robin", "least_request",
        "p2c_ewma", "adaptive", "weighted_round_robin", "least_connections",
    }
)  # fmt: skip
_HASHED = frozenset({"header", "cookie", "query_parameter"})
_SUBSET = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SUBSET_MAX = 63
_POLICY_MODES = frozenset({"", "default", "order-by-locality"})

SHAPE = Shape(
    (
        duration("ConnectTimeout"),
        duration("RequestTimeout"),
        text("DefaultSubset"),
        record_map("Subsets", text("Filter"), boolean("OnlyPassing")),
        record(
            "Redirect",
            text("Service"),
            text("ServiceSubset"),
            text("Namespace"),
            text("Partition"),
            text("Datacenter"),
            text("Peer"),
            text("SamenessGroup"),
        ),
        record_map(
            "Failover",
            text("Service"),
            text("ServiceSubset"),
            text("Namespace"),
            texts("Datacenters"),
            records(
                "Targets",
                text("Service"),
                text("ServiceSubset"),
                text("Partition"),
                text("Namespace"),
                text("Datacenter"),
                text("Peer"),
            ),
            record("Policy", text("Mode"), texts("Regions")),
            text("SamenessGroup"),
        ),
        record(
            "LoadBalancer",
            text("Policy"),
            record("RingHashConfig", unsigned("MinimumRingSize"), unsigned("MaximumRingSize")),
            record("LeastRequestConfig", unsigned("ChoiceCount")),
            records(
                "HashPolicies",
                text("Field"),
                text("FieldValue"),
                record("CookieConfig", boolean("Session"), duration("TTL", raw=True), text("Path")),
                boolean("SourceIP"),
                boolean("Terminal"),
            ),
        ),
        LOCALITY,
    )
)


def check(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse a resolver that cannot be."""
    need_name(name)
    check_meta(meta)
    subsets = content.get("Subsets", {})
    for subset in sorted(subsets):
        if not subset:
            raise Invalid("Subset defined with empty name")
        if len(subset) > _SUBSET_MAX or not _SUBSET.fullmatch(subset):
            raise Invalid(
                f"Subset {quoted(subset)} is invalid: must be 63 characters or fewer, begin or end "
                "with lower case alphanumeric characters, and contain lower case alphanumeric "
                "characters or '-' in between"
            )
    default = content.get("DefaultSubset", "")
    if default and default not in subsets:
        raise Invalid(f"DefaultSubset {quoted(default)} is not a valid subset")
    if "Redirect" in content:
        _check_redirect(name, content, content["Redirect"])
    for subset in sorted(content.get("Failover", {})):
        _check_failover(name, subset, content["Failover"][subset], subsets)
    for key in ("ConnectTimeout", "RequestTimeout"):
        if content.get(key, 0) < 0:
            raise Invalid(f"Bad {key} '{format_ns(content[key])}', must be >= 0")
    if "LoadBalancer" in content:
        _check_balancer(content["LoadBalancer"])
    if content.get("PrioritizeByLocality", {}).get("Mode", "") not in {"", "none", "failover"}:
        raise Invalid("PrioritizeByLocality mode must be one of '', 'none', or 'failover'")


def _check_redirect(name: str, content: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    if content.get("Failover"):
        raise Invalid("Redirect and Failover cannot both be set")
    if not given:
        raise Invalid("Redirect is empty")
    if given.get("SamenessGroup"):
        raise Invalid("Redirect.SamenessGroup is not supported")
    if given.get("Peer"):
        for other in ("ServiceSubset", "Partition", "Datacenter"):
            if given.get(other):
                raise Invalid(f"Redirect.Peer cannot be set with Redirect.{other}")
        raise Invalid("Redirect.Peer: there are no peers")
    service, subset = given.get("Service", ""), given.get("ServiceSubset", "")
    if not service:
        for other in ("ServiceSubset", "Namespace", "Partition"):
            if given.get(other):
                raise Invalid(f"Redirect.{other} defined without Redirect.Service")
    elif subset and service == name and subset not in content.get("Subsets", {}):
        raise Invalid(
            f"Redirect.ServiceSubset {quoted(subset)} is not a valid subset of {quoted(service)}"
        )


def _check_failover(
    name: str, subset: str, given: Mapping[str, Any], subsets: Mapping[str, Any]
) -> None:
    label = f"Bad Failover[{quoted(subset)}]"
    if subset != "*" and subset not in subsets:
        raise Invalid(f"{label}: not a valid subset")
    named = ("Service", "ServiceSubset", "Namespace", "Datacenters", "Targets")
    if given.get("SamenessGroup"):
        raise Invalid(f"{label}: SamenessGroup is not supported")
    if not any(given.get(key) for key in named):
        raise Invalid(
            f"{label} one of Service, ServiceSubset, Namespace, or Datacenters is required"
        )
    if given.get("Policy", {}).get("Mode", "") not in _POLICY_MODES:
        raise Invalid(f"{label}: Policy must be one of '', 'default', or 'order-by-locality'")
    service, chosen = given.get("Service", ""), given.get("ServiceSubset", "")
    if chosen and service in {"", name} and chosen not in subsets:
        raise Invalid(
            f"{label}.ServiceSubset {quoted(chosen)} is not a valid subset of {quoted(service)}"
        )
    targets = given.get("Targets", ())
    for other in ("Datacenters", "ServiceSubset", "Service"):
        if targets and given.get(other):
            raise Invalid(f"{label}: Targets cannot be set with {other}")
    for at, target in enumerate(targets):
        _check_target(name, f"{label}.Targets[{at}]: ", target, subsets)
    if "" in given.get("Datacenters", ()):
        raise Invalid(f"{label}.Datacenters: found empty datacenter")


def _check_target(
    name: str, label: str, target: Mapping[str, Any], subsets: Mapping[str, Any]
) -> None:
    if target.get("Peer"):
        for other in ("ServiceSubset", "Partition", "Datacenter"):
            if target.get(other):
                first, second = ("Partition", "Peer") if other == "Partition" else ("Peer", other)
                raise Invalid(f"{label}{first} cannot be set with {second}")
        raise Invalid(f"{label}there are no peers")
    if target.get("Partition") and target.get("Datacenter"):
        raise Invalid(f"{label}Partition cannot be set with Datacenter")
    chosen = target.get("ServiceSubset", "")
    if chosen and target.get("Service", "") in {"", name} and chosen not in subsets:
        raise Invalid(
            f"{label}ServiceSubset {quoted(chosen)} is not a valid subset of {quoted(name)}"
        )


def _check_balancer(given: Mapping[str, Any]) -> None:
    policy = given.get("Policy", "")
    if policy not in _POLICIES:
        raise Invalid(f"Bad LoadBalancer policy: {quoted(policy)} is not supported")
    for key, owner in (("RingHashConfig", "ring_hash"), ("LeastRequestConfig", "least_request")):
        if key in given and policy != owner:
            raise Invalid(
                f"Bad LoadBalancer configuration. {key} specified for incompatible "
                f"load balancing policy {quoted(policy)}"
            )
    policies = given.get("HashPolicies", ())
    if policies and policy not in HASHING:
        raise Invalid(
            "Bad LoadBalancer configuration: HashPolicies specified for non-hash-based "
            f"Policy: {quoted(policy)}"
        )
    for at, one in enumerate(policies):
        _check_hash_policy(f"Bad LoadBalancer HashPolicy[{at}]: ", one)


def _check_hash_policy(label: str, given: Mapping[str, Any]) -> None:
    field, value = given.get("Field", ""), given.get("FieldValue", "")
    source = given.get("SourceIP", False)
    if field and field not in _HASHED:
        raise Invalid(f"{label}{quoted(field)} is not a supported field")
    if source and field:
        raise Invalid(
            f"{label}A single hash policy cannot hash both a source address and a {quoted(field)}"
        )
    if source and value:
        raise Invalid(f"{label}A FieldValue cannot be specified when hashing SourceIP")
    if field and not value:
        raise Invalid(f"{label}Field {quoted(field)} was specified without a FieldValue")
    if value and not field:
        raise Invalid(f"{label}FieldValue requires a Field to apply to")
    cookie = given.get("CookieConfig")
    if cookie is not None:
        if field != "cookie":
            raise Invalid(f"{label}cookie_config provided for {quoted(field)}")
        if cookie.get("Session") and cookie.get("TTL"):
            raise Invalid(f"{label}a session cookie cannot have an associated TTL")


def names(name: str, content: Mapping[str, Any]) -> Iterator[str]:
    """The services that it leads to."""
    if "Redirect" in content:
        yield content["Redirect"].get("Service") or name
    for failover in content.get("Failover", {}).values():
        if not failover.get("Targets"):
            yield failover.get("Service") or name
        for target in failover.get("Targets", ()):
            yield target.get("Service") or name


def is_default(content: Mapping[str, Any]) -> bool:
    """Whether it says nothing that there would not be without it."""
    return not any(content.get(one.name) is not None for one in SHAPE.fields)
