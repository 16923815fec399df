"""mesh, exported-services and control-plane-request-limit (mesh contract C.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raftstore.entries.errors import Invalid
from raftstore.entries.rules import (
    TLS_RANGE,
    WILDCARD,
    check_meta,
    check_tls,
    meta_problems,
    need_name,
    quoted,
    refuse_all,
)
from raftstore.entries.shape import Field, Shape, boolean, number, record, records, text

MESH_NAME = "mesh"
PARTITION = "default"
_ESCAPED_SLASHES = (
    "IMPLEMENTATION_SPECIFIC_DEFAULT", "KEEP_UNCHANGED", "REJECT_REQUEST",
    "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD",
)  # fmt: skip
_UNDERSCORES = ("ALLOW", "REJECT_REQUEST", "DROP_HEADER")
_LIMIT_MODES = ("permissive", "enforcing", "disabled")

SHAPE = Shape(
    (
        record("TransparentProxy", boolean("MeshDestinationsOnly", always=True), always=True),
        boolean("AllowEnablingPermissiveMutualTLS"),
        boolean("ValidateClusters"),
        record("TLS", record("Incoming", *TLS_RANGE), record("Outgoing", *TLS_RANGE)),
        record(
            "HTTP",
            boolean("SanitizeXForwardedClientCert", always=True),
            record(
                "Incoming",
                record(
                    "RequestNormalization",
                    boolean("InsecureDisablePathNormalization", always=True),
                    boolean("MergeSlashes", always=True),
                    text("PathWithEscapedSlashesAction", always=True),
                    text("HeadersWithUnderscoresAction", always=True),
                ),
            ),
        ),
        record("Peering", boolean("PeerThroughMeshGateways", always=True)),
    )
)
EXPORTED = Shape(
    (
        records(
            "Services",
            text("Name", always=True),
            text("Namespace"),
            records(
                "Consumers", text("Partition"), text("Peer"), text("SamenessGroup"), always=True
            ),
            always=True,
        ),
    )
)


def _rates(name: str) -> Field:
    return record(name, number("ReadRate"), number("WriteRate"))


_GROUPS = (
    "ACL", "Catalog", "ConfigEntry", "ConnectCA", "Coordinate", "DiscoveryChain",
    "ServerDiscovery", "Health", "Intention", "KV", "Tenancy", "PreparedQuery", "Session", "Txn",
    "AutoConfig", "FederationState", "Internal", "PeerStream", "Peering", "DataPlane", "DNS",
    "Subscribe", "Resource",
)  # fmt: skip
REQUEST_LIMIT = Shape(
    (
        text("Mode"),
        number("ReadRate"),
        number("WriteRate"),
        *(_rates(group) for group in _GROUPS),
    )
)


def check(_name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse mesh settings that cannot be."""
    check_meta(meta)
    for direction in ("Incoming", "Outgoing"):
        try:
            check_tls(content.get("TLS", {}).get(direction, {}))
        except Invalid as error:
            raise Invalid(f"error in {direction.lower()} TLS configuration: {error}") from None
    wished = content.get("HTTP", {}).get("Incoming", {}).get("RequestNormalization", {})
    for key, known in (
        ("PathWithEscapedSlashesAction", _ESCAPED_SLASHES),
        ("HeadersWithUnderscoresAction", _UNDERSCORES),
    ):
        value = wished.get(key, "")
        if value and value not in known:
            raise Invalid(
                "error in HTTP incoming request normalization configuration: no matching "
                f"{key} value found for {value}, please specify one of [{', '.join(known)}]"
            )


def check_exported(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse exports that cannot be."""
    need_name(name)
    if name != PARTITION:
        raise Invalid(f'exported-services Name must be "{PARTITION}"')
    problems = meta_problems(meta)
    for at, service in enumerate(content.get("Services", ())):
        consumers = service.get("Consumers", ())
        if not service.get("Name"):
            raise Invalid(f"Services[{at}]: service name cannot be empty")
        if not consumers:
            raise Invalid(f"Services[{at}]: must have at least one consumer")
        for place, consumer in enumerate(consumers):
            label = f"Services[{at}].Consumers[{place}]: "
            given = [key for key in ("Peer", "Partition", "SamenessGroup") if consumer.get(key)]
            if len(given) > 1:
                raise Invalid(
                    f"{label}must define at most one of Peer, Partition, or SamenessGroup"
                )
            if not given:
                raise Invalid(f"{label}must be set to a Peer, a Partition, or a SamenessGroup")
            if consumer[given[0]] == WILDCARD:
                raise Invalid(f"{label}exporting to all {given[0]}s (wildcard) is not supported")
    refuse_all(problems)


def check_request_limit(
    name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None
) -> None:
    """Refuse limits that cannot be."""
    need_name(name)
    check_meta(meta)
    mode = content.get("Mode", "")
    if mode not in _LIMIT_MODES:
        raise Invalid(f"mode {quoted(mode)} must be one of {', '.join(_LIMIT_MODES)}")
    for one in (content, *(content.get(group, {}) for group in _GROUPS)):
        if one.get("ReadRate", 0) < 0 or one.get("WriteRate", 0) < 0:
            raise Invalid("rates cannot be negative")
