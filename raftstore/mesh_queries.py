"""Questions about the mesh. See queries.py; numbers (130 to 149) travel between agents."""

from __future__ import annotations

from dataclasses import dataclass

from raftstore.definitions import ConfigEntry
from raftstore.queries import Footprint, HealthEntry, Query, numbered
from raftstore.records import Json, ServiceName

_ENTRIES: Footprint = ("config-entries", "")


@dataclass(frozen=True, slots=True)
class CompiledChain:
    """A chain as clients see it, or with a ``problem`` why there is none."""

    chain: Json
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayService:
    """A service behind a gateway. ``port`` and ``protocol`` are of an ingress listener."""

    gateway: str
    service: str
    kind: str
    port: int = 0
    protocol: str = ""
    hosts: tuple[str, ...] = ()
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    sni: str = ""
    from_wildcard: bool = False
    create_index: int = 0
    modify_index: int = 0


@numbered(130, CompiledChain)
@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryChain(Query[CompiledChain]):
    """The chain of a service, seen from a datacenter; "" and 0 override nothing.

    The answer's index is that of the last change to an entry that the chain was made of.
    """

    service: ServiceName
    datacenter: str
    protocol: str = ""
    connect_timeout_ns: int = 0
    mesh_gateway: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return (_ENTRIES, ("ca-config", ""))


@numbered(131, tuple[GatewayService, ...])
@dataclass(frozen=True, slots=True)
class GatewayServices(Query[tuple[GatewayService, ...]]):
    """The services behind a gateway, by name and port."""

    gateway: ServiceName

    def footprint(self) -> tuple[Footprint, ...]:
        return (_ENTRIES, ("service-names", ""))


@numbered(132, tuple[HealthEntry, ...])
@dataclass(frozen=True, slots=True)
class IngressHealth(Query[tuple[HealthEntry, ...]]):
    """The instances of the ingress gateways that expose a service, by name or by a wildcard."""

    service: ServiceName

    def footprint(self) -> tuple[Footprint, ...]:
        return (_ENTRIES, ("services", ""), ("checks", ""), ("nodes", ""))


#: Services of which a plan says that their chains would change.
PLANNED_CHAINS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """What a write would do: "create", "update", "delete", "nothing", or "" with why it would be
    ``refused``. ``chains`` are the services whose chain would be another one, of those that have
    entries of their own."""

    action: str
    before: ConfigEntry | None = None
    refused: str = ""
    chains: tuple[str, ...] = ()
    chains_count: int = 0


@numbered(133, ChangePlan)
@dataclass(frozen=True, slots=True)
class PlanConfigEntry(Query[ChangePlan]):
    """What writing an entry, or deleting the one of its kind and name, would do now.

    Chains are compared as seen from ``datacenter``. ``content`` is canonical content as JSON: a
    question can be a key.
    """

    kind: str
    name: str
    content: str
    datacenter: str
    delete: bool = False

    def footprint(self) -> tuple[Footprint, ...]:
        return (_ENTRIES, ("intentions", ""))
