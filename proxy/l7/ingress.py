"""An ingress gateway's listeners: which service a request is for, by its host (contract C.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy import tls_range
from proxy.errors import SourceError
from proxy.http1.forward import NO_CHANGES, HeaderChanges
from proxy.tls_range import TlsRange

PROTOCOLS = frozenset({"tcp", "http", "http2", "grpc"})


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressService:
    """A service behind a listener. Without ``hosts`` it is found by its own name."""

    name: str
    hosts: tuple[str, ...] = ()
    request_headers: HeaderChanges = NO_CHANGES
    response_headers: HeaderChanges = NO_CHANGES


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressListener:
    """A port that is open to whoever is not in the mesh."""

    port: int
    protocol: str = "tcp"
    services: tuple[IngressService, ...] = ()
    #: Secured by our certificate, of such TLS; None: in clear.
    tls: TlsRange | None = None

    def service_of(self, host: str) -> IngressService | None:
        """Whom a Host header means: an exact name before the longest wildcard before all."""
        name = _without_port(host.lower())
        best: tuple[int, IngressService] | None = None
        for each in self.services:
            for pattern in each.hosts or (f"{each.name}.ingress.*",):
                rank = _rank(pattern.lower(), name)
                if rank and (best is None or rank > best[0]):
                    best = rank, each
        return best[1] if best else None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _rank(pattern: str, name: str) -> int:
    """How well a pattern is about a name; 0: not at all."""
    pattern = _without_port(pattern)
    if pattern == name:
        return 1 << 20
    if pattern == "*":
        return 1
    if pattern.startswith("*.") and name.endswith(pattern[1:]) and len(name) > len(pattern) - 1:
        return 1 + len(pattern)
    if pattern.endswith(".*") and name.startswith(pattern[:-1]):
        return 1 + len(pattern)
    return 0


def listeners(entry: Any) -> tuple[IngressListener, ...]:
    """Of the config entry. Raises SourceError for what cannot be served: nothing is then opened
    half."""
    if not isinstance(entry, Mapping):
        raise SourceError("the gateway's entry is no object")
    found = []
    everywhere = entry.get("TLS") or {}
    for each in entry.get("Listeners") or ():
        own = each.get("TLS") or {}
        if any((given.get("SDS") or {}).get("CertResource") for given in (everywhere, own)):
            raise SourceError("ingress listeners have no certificates by SDS")
        # Versions and suites of the entry hold for the listeners that name none (as the reference).
        secured = bool(everywhere.get("Enabled") or own.get("Enabled"))
        allowed = tls_range.read({**everywhere, **{k: v for k, v in own.items() if v}})
        protocol = str(each.get("Protocol") or "tcp").lower()
        if protocol not in PROTOCOLS:
            raise SourceError(f'ingress listeners do not speak "{protocol}"')
        services = tuple(_service(one) for one in each.get("Services") or ())
        found.append(
            IngressListener(
                port=int(each["Port"]),
                protocol=protocol,
                services=services,
                tls=allowed if secured else None,
            )
        )
    return tuple(found)


def _service(given: Mapping[str, Any]) -> IngressService:
    return IngressService(
        name=str(given.get("Name") or ""),
        hosts=tuple(str(host) for host in given.get("Hosts") or ()),
        request_headers=_changes(given.get("RequestHeaders")),
        response_headers=_changes(given.get("ResponseHeaders")),
    )


def _changes(given: Any) -> HeaderChanges:
    given = given if isinstance(given, Mapping) else {}
    return HeaderChanges(
        remove=tuple(given.get("Remove") or ()),
        set=dict(given.get("Set") or {}),
        add=dict(given.get("Add") or {}),
    )
