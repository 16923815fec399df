"""Real agents on loopback: started, killed, stopped and continued by their process ids.

Every node has its own address 127.0.0.N, free ports, a folder and a log that survive restarts.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from jepsen_lite.client import Client

_KINDS = ("http", "dns", "server", "serf_lan")
_START_WAIT_S = 30.0


class ClusterError(Exception):
    """The cluster cannot be brought into the wanted shape; the text says where its logs are."""


@dataclass(slots=True)
class Node:
    """One agent and what it needs to start again as the same one."""

    name: str
    address: str
    ports: dict[str, int]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False
    starts: int = 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass(slots=True)
class Cluster:
    """``size`` servers that form one cluster."""

    folder: Path
    size: int = 3
    program: tuple[str, ...] = ()
    nodes: list[Node] = field(default_factory=list)

    def start(self, *, wait_s: float = _START_WAIT_S) -> None:
        """Start all nodes and wait until each knows a leader. Raises ClusterError."""
        self.program = self.program or find_program()
        for number in range(1, self.size + 1):
            address = f"127.0.0.{number}"
            folder = self.folder / f"n{number}"
            folder.mkdir(parents=True)
            self.nodes.append(Node(f"n{number}", address, free_ports(address), folder))
        for node in self.nodes:
            (node.folder / "agent.json").write_text(json.dumps(self._config(node), indent=1))
            self.launch(node)
        self.wait_for_leader(wait_s)

    def _config(self, node: Node) -> dict[str, object]:
        others = [n for n in self.nodes if n is not node]
        return {
            "server": True,
            "bootstrap_expect": self.size,
            "node_name": node.name,
            "datacenter": "dc1",
            "data_dir": str(node.folder / "data"),
            "bind_addr": node.address,
            "advertise_addr": node.address,
            "client_addr": node.address,
            "ports": node.ports,
            "retry_join": [f"{n.address}:{n.ports['serf_lan']}" for n in others],
            "retry_interval": "1s",
            "leave_on_terminate": False,
            "performance": {"raft_multiplier": 1},
            "log_level": "INFO",
        }

    def launch(self, node: Node) -> None:
        """Start a node that is not running, on the data it had."""
        assert not node.running
        node.starts += 1
        config = str(node.folder / "agent.json")
        with (node.folder / "agent.log").open("ab") as log:
            node.process = subprocess.Popen(  # noqa: S603  (our own program, our own arguments)
                [*self.program, "agent", "-config-file", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        node.paused = False

    def kill(self, node: Node) -> None:
        """End a node without warning (SIGKILL)."""
        if node.process is not None:
            node.process.kill()
            node.process.wait()
            node.paused = False

    def pause(self, node: Node) -> None:
        """Freeze a node (SIGSTOP): its sockets stay open, nothing answers."""
        if node.running and node.process is not None:
            node.process.send_signal(signal.SIGSTOP)
            node.paused = True

    def resume(self, node: Node) -> None:
        if node.running and node.process is not None:
            node.process.send_signal(signal.SIGCONT)
        node.paused = False

    def heal(self) -> None:
        """Every node runs again."""
        for node in self.nodes:
            if node.paused:
                self.resume(node)
            if not node.running:
                self.launch(node)

    def client(self, node: Node, *, timeout_s: float = 5.0) -> Client:
        return Client(node.address, node.ports["http"], timeout_s=timeout_s)

    def wait_for_leader(self, wait_s: float = _START_WAIT_S) -> None:
        """Until every node names the same leader. Raises ClusterError."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            dead = [node.name for node in self.nodes if not node.running]
            if dead:
                raise ClusterError(f"{', '.join(dead)} ended; see the logs in {self.folder}")
            seen = {self.client(node, timeout_s=1.0).leader() for node in self.nodes}
            if len(seen) == 1 and "" not in seen:
                return
            time.sleep(0.1)
        raise ClusterError(f"no common leader after {wait_s:.0f} s; see the logs in {self.folder}")

    def stop(self) -> None:
        """End all nodes for good."""
        for node in self.nodes:
            if node.paused:
                self.resume(node)
            if node.running and node.process is not None:
                node.process.terminate()
        for node in self.nodes:
            if node.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    node.process.wait(10)
                self.kill(node)


def find_program() -> tuple[str, ...]:
    """``lictor`` beside this Python, else on the PATH. Raises ClusterError."""
    beside = Path(sys.executable).parent / "lictor"
    if beside.exists():
        return (str(beside),)
    found = shutil.which("lictor")
    if found is None:
        raise ClusterError("no program called lictor beside this Python or on the PATH")
    return (found,)


def free_ports(address: str) -> dict[str, int]:
    """A port for each purpose that is free for TCP and UDP at this moment."""
    held: list[socket.socket] = []
    ports: dict[str, int] = {}
    try:
        while len(ports) < len(_KINDS):
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(tcp)
            tcp.bind((address, 0))
            port = int(tcp.getsockname()[1])
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            held.append(udp)
            with contextlib.suppress(OSError):
                udp.bind((address, port))
                ports[_KINDS[len(ports)]] = port
    finally:
        for each in held:
            each.close()
    return ports
