"""The programs that can be tested: how each is found, configured, started and asked."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jepsen_lite.client import BLOCKING, CATALOG, KEEPING, MESH, SESSIONS, STALE_AGE, TXN, Client
from jepsen_lite.consul_http import ConsulClient
from jepsen_lite.etcd_http import EtcdClient


class TargetError(Exception):
    """The program is not there; the text says where it was looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one node lives: its number from 1, address, ports by purpose, and folder. ``seen_as``
    is the address that it tells the others."""

    number: int
    address: str
    seen_as: str
    ports: dict[str, int]
    folder: Path

    @property
    def name(self) -> str:
        return f"n{self.number}"


class Target(Protocol):
    """One kind of store."""

    name: str
    #: What it offers beyond registers and trees.
    offers: frozenset[str]
    #: The purposes for which a node needs a port.
    ports: tuple[str, ...]
    #: Those on which nodes speak to each other.
    peer_ports: tuple[str, ...]

    def command(self, place: Place, places: Sequence[Place]) -> list[str]:
        """Write what the node needs into its folder; returns how it is started. Raises
        TargetError."""
        ...

    def client(self, place: Place, timeout_s: float) -> Client: ...

    def named_leader(self, place: Place) -> str:
        """Whom a node takes for its leader, "" for nobody or no answer."""
        ...

    def is_named(self, place: Place, name: str) -> bool:
        """Whether this name of a leader means this node."""
        ...


@dataclass(slots=True)
class Lictor:
    """lictor's servers. ``program`` replaces the installed one; ``extra`` is configuration."""

    program: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    name: str = "lictor"
    offers: frozenset[str] = frozenset({TXN, SESSIONS, BLOCKING, CATALOG, STALE_AGE, MESH, KEEPING})
    ports: tuple[str, ...] = ("http", "dns", "server", "serf_lan")
    peer_ports: tuple[str, ...] = ("server", "serf_lan")

    def command(self, place: Place, places: Sequence[Place]) -> list[str]:
        self.program = self.program or self._found()
        config = place.folder / "agent.json"
        config.write_text(json.dumps(self._config(place, places), indent=1))
        return [*self.program, "agent", "-config-file", str(config)]

    def _found(self) -> tuple[str, ...]:
        return (found_program("lictor"),)

    def _config(self, place: Place, places: Sequence[Place]) -> dict[str, Any]:
        others = [other for other in places if other is not place]
        return (
            {
                "server": True,
                "bootstrap_expect": len(places),
                "node_name": place.name,
                "datacenter": "dc1",
                "data_dir": str(place.folder / "data"),
                "bind_addr": place.address,
                "advertise_addr": place.seen_as,
                "client_addr": place.address,
                "ports": place.ports,
                "retry_join": [f"{other.seen_as}:{other.ports['serf_lan']}" for other in others],
                "retry_interval": "1s",
                "leave_on_terminate": False,
                "performance": {"raft_multiplier": 1},
                "log_level": "INFO",
            }
            | self._more(place)
            | self.extra
        )

    def _more(self, place: Place) -> dict[str, Any]:
        """What only this program has."""
        return {
            "connect": {"enabled": True, "builtin_proxy": "auto"},
            "default_intention_policy": "deny",
        }

    def client(self, place: Place, timeout_s: float) -> ConsulClient:
        return ConsulClient(
            place.address, place.ports["http"], dns_port=place.ports["dns"], timeout_s=timeout_s
        )

    def named_leader(self, place: Place) -> str:
        return self.client(place, 1.0).leader()

    def is_named(self, place: Place, name: str) -> bool:
        return name == f"{place.seen_as}:{place.ports['server']}"


@dataclass(slots=True)
class Consul(Lictor):
    """Consul's servers, from the PATH."""

    name: str = "consul"
    #: Its own proxy has to be started by hand.
    offers: frozenset[str] = frozenset({TXN, SESSIONS, BLOCKING, CATALOG, STALE_AGE, KEEPING})

    def _found(self) -> tuple[str, ...]:
        return (found_program("consul"),)

    def _more(self, place: Place) -> dict[str, Any]:
        return {"ports": place.ports | {"serf_wan": -1}, "connect": {"enabled": True}}


@dataclass(slots=True)
class Etcd:
    """etcd's members, from the PATH."""

    name: str = "etcd"
    offers: frozenset[str] = frozenset({TXN})
    ports: tuple[str, ...] = ("client", "peer")
    peer_ports: tuple[str, ...] = ("peer",)

    def command(self, place: Place, places: Sequence[Place]) -> list[str]:
        client = f"http://{place.address}:{place.ports['client']}"
        peers = {p.name: f"http://{p.seen_as}:{p.ports['peer']}" for p in places}
        listen = f"http://{place.address}:{place.ports['peer']}"
        return [
            found_program("etcd"),
            *("--name", place.name, "--data-dir", str(place.folder / "data")),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", listen),
            *("--initial-advertise-peer-urls", peers[place.name]),
            *("--initial-cluster", ",".join(f"{name}={url}" for name, url in peers.items())),
            *("--initial-cluster-state", "new"),
        ]

    def client(self, place: Place, timeout_s: float) -> EtcdClient:
        return EtcdClient(place.address, place.ports["client"], timeout_s=timeout_s)

    def named_leader(self, place: Place) -> str:
        name = self.client(place, 1.0).leader()
        return "" if name == "0" else name

    def is_named(self, place: Place, name: str) -> bool:
        return self.client(place, 1.0).member() == name


TARGETS: dict[str, type[Lictor] | type[Consul] | type[Etcd]] = {
    "lictor": Lictor,
    "consul": Consul,
    "etcd": Etcd,
}


def found_program(name: str) -> str:
    """The program beside this Python, else on the PATH. Raises TargetError."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise TargetError(f"no program called {name} beside this Python or on the PATH")
    return found
