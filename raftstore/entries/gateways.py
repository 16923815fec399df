"""ingress-gateway and terminating-gateway (mesh contract C.7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from raftstore.entries.errors import Invalid
from raftstore.entries.rules import (
    HTTP_LIKE,
    PASSIVE_HEALTH_CHECK,
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    TLS_RANGE,
    WILDCARD,
    check_meta,
    check_tls,
    need_name,
    quoted,
)
from raftstore.entries.shape import (
    Shape,
    boolean,
    integer,
    record,
    records,
    text,
    text_map,
    texts,
    unsigned,
)

_PROTOCOLS = frozenset({"tcp", "http", "http2", "grpc"})
_HOST_MAX = 255
_LABEL = re.compile(r"[^.\s]{1,63}")
_PORT_MAX = 65535

_SDS = record("SDS", text("ClusterName"), text("CertResource"))
_LIMITS = (
    unsigned("MaxConnections"),
    unsigned("MaxPendingRequests"),
    unsigned("MaxConcurrentRequests"),
)
INGRESS = Shape(
    (
        record("TLS", boolean("Enabled", always=True), _SDS, *TLS_RANGE, always=True),
        records(
            "Listeners",
            integer("Port", always=True),
            text("Protocol", always=True),
            record("TLS", boolean("Enabled", always=True), _SDS, *TLS_RANGE),
            records(
                "Services",
                text("Name", always=True),
                texts("Hosts", always=True),
                record("TLS", _SDS),
                REQUEST_HEADERS,
                RESPONSE_HEADERS,
                *_LIMITS,
                PASSIVE_HEALTH_CHECK,
                text_map("Meta"),
                text("Namespace"),
                text("Partition"),
                always=True,
            ),
            always=True,
        ),
        record(
            "Defaults",
            unsigned("MaxConnections", always=True),
            unsigned("MaxPendingRequests", always=True),
            unsigned("MaxConcurrentRequests", always=True),
            PASSIVE_HEALTH_CHECK,
        ),
    )
)
TERMINATING = Shape(
    (
        records(
            "Services",
            text("Name"),
            text("Namespace"),
            text("CAFile"),
            text("CertFile"),
            text("KeyFile"),
            text("SNI"),
            boolean("DisableAutoHostRewrite"),
            always=True,
        ),
    )
)


def normalise_ingress(_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Protocols in lower case, tcp when none is given."""
    found = dict(content)
    if "Listeners" in found:
        found["Listeners"] = [
            {**one, "Protocol": one.get("Protocol", "tcp").lower()} for one in found["Listeners"]
        ]
    return found


def check_ingress(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse an ingress gateway that cannot be."""
    need_name(name)
    check_meta(meta)
    check_tls(content.get("TLS", {}))
    ports: set[int] = set()
    for listener in content.get("Listeners", ()):
        port, protocol = listener.get("Port", 0), listener.get("Protocol", "")
        if port in ports:
            raise Invalid(f"port {port} declared on two listeners")
        ports.add(port)
        if protocol not in _PROTOCOLS:
            raise Invalid(
                "protocol must be 'tcp', 'http', 'http2', or 'grpc'. "
                f"'{protocol}' is an unsupported protocol"
            )
        if not 0 <= port <= _PORT_MAX:
            raise Invalid(f"listener port {port} not in the range 1-65535")
        services = listener.get("Services", ())
        if not services:
            raise Invalid(f"No service declared for listener with port {port}")
        if len(services) > 1 and protocol not in HTTP_LIKE:
            raise Invalid(
                "Multiple services per listener are only supported for L7 protocols, 'http', "
                f"'grpc' and 'http2' (listener on port {port})"
            )
        check_tls(listener.get("TLS", {}))
        _check_services(content, listener, f"(listener on port {port})")


def _check_services(content: Mapping[str, Any], listener: Mapping[str, Any], where: str) -> None:
    protocol, tls = listener["Protocol"], content.get("TLS", {}).get("Enabled", False)
    names: set[str] = set()
    hosts: set[str] = set()
    for service in listener["Services"]:
        name, given = service.get("Name", ""), service.get("Hosts", ())
        for key, words in (("RequestHeaders", "request"), ("ResponseHeaders", "response")):
            if service.get(key) and protocol not in HTTP_LIKE:
                raise Invalid(
                    f"{words} headers only valid for http, http2 and grpc protocols "
                    f"(service {quoted(name)} on listener on port {listener.get('Port', 0)})"
                )
        if protocol == "tcp" and name == WILDCARD:
            raise Invalid(f"Wildcard service name is only valid for protocol = 'http' {where}")
        if protocol == "tcp" and given:
            raise Invalid(
                f"Associating hosts to a service is not supported for the {protocol} "
                f"protocol {where}"
            )
        if not name:
            raise Invalid(f"Service name cannot be blank {where}")
        if name == WILDCARD and given:
            raise Invalid(f"Associating hosts to a wildcard service is not supported {where}")
        if name in names:
            raise Invalid(f"Service {name} cannot be added multiple times {where}")
        names.add(name)
        for host in given:
            if host in hosts:
                raise Invalid(f"Hosts must be unique within a specific listener {where}")
            hosts.add(host)
            _check_host(host, tls=tls)


def _check_host(host: str, *, tls: bool) -> None:
    if host == WILDCARD:
        if tls:
            raise Invalid(
                "Host '*' is not allowed when TLS is enabled, all hosts must be valid DNS records "
                "to add as a DNSSAN"
            )
        return
    labels = host.removesuffix(".").split(".")
    if not host or len(host) > _HOST_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise Invalid(f"Host {quoted(host)} must be a valid DNS hostname")
    if WILDCARD in host.removeprefix("*."):
        raise Invalid(
            f"Host {quoted(host)} is not valid, a wildcard specifier is only allowed "
            "as the leftmost label"
        )


def ingress_names(_name: str, content: Mapping[str, Any]) -> Iterator[str]:
    """The services that it exposes by name."""
    for listener in content.get("Listeners", ()):
        for service in listener.get("Services", ()):
            if service.get("Name", WILDCARD) != WILDCARD:
                yield service["Name"]


def check_terminating(
    name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None
) -> None:
    """Refuse a terminating gateway that cannot be."""
    need_name(name)
    check_meta(meta)
    seen: set[str] = set()
    for service in content.get("Services", ()):
        linked = service.get("Name", "")
        if not linked:
            raise Invalid("Service name cannot be blank.")
        if linked in seen:
            raise Invalid(
                f"Service {quoted(linked)} was specified more than once within a namespace"
            )
        seen.add(linked)
        files = [bool(service.get(key)) for key in ("CAFile", "CertFile", "KeyFile")]
        if (files[1] or files[2]) and not all(files):
            raise Invalid(
                f"Service {quoted(linked)} must have a CertFile, CAFile, and KeyFile specified "
                "for TLS origination"
            )


def terminating_warnings(content: Mapping[str, Any]) -> list[str]:
    """TLS without a name to ask for."""
    return [
        f'TLS is configured but SNI is not set for service "{service["Name"]}". '
        "Enabling SNI is strongly recommended when using TLS."
        for service in content.get("Services", ())
        if any(service.get(key) for key in ("CAFile", "CertFile", "KeyFile"))
        and not service.get("SNI")
    ]
