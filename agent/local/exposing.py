"""Checks that go through their service's sidecar (`proxy.expose.checks`; mesh contract D.10).

A sidecar that exposes checks opens a port in the clear for each HTTP and gRPC check of its service,
and the check asks there: so an application that listens on loopback alone can still be looked at
from where the sidecar listens. Decides which checks those are, which port each gets, and what it
asks then. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, urlsplit

from agent.definitions import CheckDefinition
from raftstore.records import CheckId, ExposePath, Service, ServiceId

GRPC_PATH = "/grpc.health.v1.Health/Check"


@dataclass(frozen=True, slots=True)
class ExposePorts:
    """The ports for exposed checks, both ends included; a 0 switches them off. ``address`` is where
    sidecars of this agent listen, "" for every address."""

    lowest: int
    highest: int
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """A check as it is exposed: what is asked instead, and what the sidecar has to open."""

    asked: CheckDefinition
    path: ExposePath


class Exposing:
    """The checks that go through sidecars now."""

    __slots__ = ("_exposed", "_of_owner", "_ports")

    def __init__(self, ports: ExposePorts) -> None:
        self._ports = ports
        self._exposed: dict[CheckId, Exposed] = {}
        self._of_owner: dict[ServiceId, tuple[CheckId, ...]] = {}

    def asked(self, check: CheckDefinition) -> CheckDefinition:
        """What is really asked for a check."""
        exposed = self._exposed.get(check.id)
        return check if exposed is None else exposed.asked

    def port(self, check_id: CheckId) -> int:
        """The port that a check has, 0 for none."""
        exposed = self._exposed.get(check_id)
        return 0 if exposed is None else exposed.path.listener_port

    def paths(self, owner: ServiceId) -> tuple[ExposePath, ...]:
        """What the sidecar of a service has to open for its checks."""
        return tuple(self._exposed[check_id].path for check_id in self._of_owner.get(owner, ()))

    def follow(
        self,
        owner: ServiceId,
        checks: Iterable[CheckDefinition],
        proxy: Service | None,
        reserved: Callable[[], Collection[int]] = frozenset,
    ) -> tuple[CheckId, ...]:
        """The checks of a service are these, and ``proxy`` is its sidecar if it exposes them.

        ``reserved`` tells ports that others have. Gives the checks that are asked otherwise now.
        """
        before = {
            check_id: self._exposed.pop(check_id) for check_id in self._of_owner.pop(owner, ())
        }
        after: dict[CheckId, Exposed] = {}
        for check in checks if proxy is not None else ():
            held = before.get(check.id)
            port = held.path.listener_port if held else self._free(after, before, reserved)
            exposed = _expose(check, self._address(proxy), port) if proxy and port else None
            if exposed is not None:
                after[check.id] = exposed
        self._exposed |= after
        if after:
            self._of_owner[owner] = tuple(after)
        return tuple(
            check_id for check_id in before | after if before.get(check_id) != after.get(check_id)
        )

    def _address(self, proxy: Service) -> str:
        return proxy.address or self._ports.address or "127.0.0.1"

    def _free(
        self,
        mine: Mapping[CheckId, Exposed],
        before: Mapping[CheckId, Exposed],
        reserved: Callable[[], Collection[int]],
    ) -> int:
        """The first port that nobody has, 0 for none."""
        lowest, highest = self._ports.lowest, self._ports.highest
        if lowest <= 0 or highest <= 0:
            return 0
        taken = {
            one.path.listener_port
            for several in (self._exposed, mine, before)
            for one in several.values()
        } | set(reserved())
        return next((port for port in range(lowest, highest + 1) if port not in taken), 0)


def exposable(check: CheckDefinition) -> bool:
    """Whether a check can go through a port in the clear."""
    return _expose(check, "127.0.0.1", 1) is not None


def _expose(check: CheckDefinition, address: str, port: int) -> Exposed | None:
    """A check through ``port``; None for one that cannot go through a port in the clear."""
    if check.kind == "http":
        found = _split(check.http)
        if found is None or found.scheme != "http":
            return None
        asked = found._replace(netloc=_netloc(address, port)).geturl()
        path = ExposePath(
            path=found.path or "/",
            listener_port=port,
            local_path_port=found.port or 80,
            protocol="http",
        )
        return Exposed(asked=replace(check, http=asked), path=path)
    if check.kind == "grpc" and not check.grpc_use_tls:
        target, slash, service = check.grpc.partition("/")
        found = _split(f"//{target}")
        if found is None or not found.port:
            return None
        path = ExposePath(
            path=GRPC_PATH, listener_port=port, local_path_port=found.port, protocol="http2"
        )
        asked = f"{_netloc(address, port)}{slash}{service}"
        return Exposed(asked=replace(check, grpc=asked), path=path)
    return None


def _split(url: str) -> SplitResult | None:
    try:
        found = urlsplit(url)
        _ = found.port  # raises for one that is no number
    except ValueError:
        return None
    return found


def _netloc(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
