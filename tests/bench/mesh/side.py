"""One of our sidecars as a process of its own, told all it must know by one JSON file."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from agent.connect import native

native.use("auto")  # before anything of the proxy is loaded

from proxy import heap  # noqa: E402
from proxy.balance.hosts import Host  # noqa: E402
from proxy.config import ProxyConfig  # noqa: E402
from proxy.l7.routes import read_chain  # noqa: E402
from proxy.server import Proxy  # noqa: E402
from proxy.source import AppAddress, Endpoint, LeafPair, MeshState, OwnService, UpstreamSpec  # noqa: E402

CHAIN = {
    "Protocol": "http",
    "StartNode": "resolver:db",
    "Nodes": {"resolver:db": {"Type": "resolver", "Resolver": {"Target": "db"}}},
    "Targets": {"db": {"Service": "db", "Datacenter": "dc1"}},
}


class _Fixed:
    """A source that never changes."""

    def __init__(self, state: MeshState) -> None:
        self.state = state

    def subscribe(self, on_change: Callable[[MeshState], None]) -> None:
        pass

    def age_s(self) -> float:
        return 0.0


def state_of(told: dict[str, Any]) -> MeshState:
    """The state that a file describes."""
    folder, name = Path(told["folder"]), told["side"]
    upstreams: tuple[UpstreamSpec, ...] = ()
    more: dict[str, Any] = {}
    if name == "web":
        spec = UpstreamSpec(name="db", bind_port=told["listen"])
        upstreams = (spec,)
        more["endpoints"] = {spec.key: (Endpoint(address="127.0.0.1", port=told["to"]),)}
        if told["http"]:
            more["chains"] = {spec.key: read_chain(CHAIN)}
            more["hosts"] = {"db": (Host(("n1", "db"), "127.0.0.1", told["to"]),)}
    elif told["http"]:
        more["protocol"] = "http"
    return MeshState(
        own=OwnService(
            name=name,
            listen_address="127.0.0.1",
            listen_port=told["listen"] if name == "db" else 0,
            app=AppAddress("127.0.0.1", told["to"]),
            upstreams=upstreams,
        ),
        leaf=LeafPair(
            cert_pem=(folder / f"{name}.crt").read_text(),
            private_key_pem=(folder / f"{name}.key").read_text(),
        ),
        roots_pem=((folder / "roots.pem").read_text(),),
        trust_domain=told["trust_domain"],
        datacenter="dc1",
        rules=(),
        default_allow=True,
        **more,
    )


async def _run(told: dict[str, Any]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    proxy = Proxy(_Fixed(state_of(told)), ProxyConfig(**told["config"]), rng=random.Random(1))
    await proxy.start()
    await stop.wait()
    await proxy.close()


def main() -> None:
    """``side.py FILE [PROFILE]``: serve until SIGTERM; with a second name write a profile there."""
    told = json.loads(Path(sys.argv[1]).read_text())
    heap.settle()  # as the program does (proxy/worker.py)
    if len(sys.argv) > 2:
        import cProfile

        profile = cProfile.Profile()
        profile.runcall(uvloop.run, _run(told))
        profile.dump_stats(sys.argv[2])
        return
    uvloop.run(_run(told))


if __name__ == "__main__":
    main()
