"""Real processes: started, killed, stopped and continued by their process ids.

Every node has an address, free ports, a folder and a log that survive restarts. Nodes live on
loopback addresses, or on hosts of a network that can be broken (network.py).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jepsen_lite.client import Client
from jepsen_lite.network import Network
from jepsen_lite.targets import Lictor, Place, Target

#: A busy machine takes long to start three programs.
_START_WAIT_S = 120.0
_POLL_S = 0.1
_PORT_MIN, _PORT_MAX, _PORT_TRIES = 12_000, 30_000, 50


class ClusterError(Exception):
    """The cluster cannot be brought into the wanted shape; the text says where its logs are."""


class NoStartError(ClusterError):
    """The cluster did not come up at all: nothing was broken yet."""


@dataclass(slots=True)
class Node:
    """One node and what it needs to start again as the same one. ``environment`` is what faults
    add to it (a library to load before others)."""

    place: Place
    process: subprocess.Popen[bytes] | None = None
    paused: bool = False
    starts: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    #: Left out by a fault on purpose: healing does not start it.
    away: bool = False

    @property
    def name(self) -> str:
        return self.place.name

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass(slots=True)
class Cluster:
    """``size`` servers that form one cluster."""

    folder: Path
    size: int = 3
    target: Target = field(default_factory=Lictor)
    network: Network | None = None
    nodes: list[Node] = field(default_factory=list)

    def start(
        self,
        *,
        environment: Callable[[Place], dict[str, str]] | None = None,
        wait_s: float = _START_WAIT_S,
    ) -> None:
        """Start all nodes and wait until each knows a leader. Raises NoStartError."""
        for number in range(1, self.size + 1):
            self.nodes.append(Node(self.place(number)))
        for node in self.nodes:
            node.environment |= environment(node.place) if environment else {}
        for node in self.nodes:
            self.launch(node)
        try:
            self.wait_for_leader(wait_s)
        except ClusterError as error:
            raise NoStartError(str(error)) from error

    def place(self, number: int) -> Place:
        """Where a node of this number lives; makes its folder."""
        folder = self.folder / f"n{number}"
        folder.mkdir(parents=True)
        if self.network is not None:
            address, seen_as = self.network.address(number), self.network.seen_as(number)
            ports = numbered_ports(self.target.ports)
        else:
            address = seen_as = f"127.0.0.{number}"
            ports = free_ports(address, self.target.ports)
        return Place(number=number, address=address, seen_as=seen_as, ports=ports, folder=folder)

    def launch(self, node: Node) -> None:
        """Start a node that is not running, on the data it had."""
        assert not node.running
        node.starts += 1
        inside = self.network.inside(node.place.number) if self.network is not None else ()
        command = self.target.command(node.place, [n.place for n in self.nodes])
        with (node.place.folder / "agent.log").open("ab") as log:
            node.process = subprocess.Popen(  # noqa: S603  (the program under test)
                [*inside, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | node.environment,
            )
        if self.network is not None:
            self.network.started(node.place.number, node.process.pid)
        node.paused = False

    def kill(self, node: Node) -> None:
        """End a node without warning (SIGKILL)."""
        if node.process is not None:
            node.process.kill()
            node.process.wait()
            node.paused = False

    def terminate(self, node: Node, *, wait_s: float = 15.0) -> None:
        """Ask a node to end (SIGTERM), and wait for it. Raises ClusterError if it does not."""
        if node.process is not None and node.running:
            node.process.terminate()
            try:
                node.process.wait(wait_s)
            except subprocess.TimeoutExpired as error:
                raise ClusterError(f"{node.name} does not end within {wait_s:g} s") from error

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
            if not node.running and not node.away:
                self.launch(node)

    def client(self, node: Node, *, timeout_s: float = 5.0) -> Client:
        return self.target.client(node.place, timeout_s)

    def leader(self) -> Node | None:
        """The leader by the word of most nodes that answer; None without one."""
        awake = [node for node in self.nodes if node.running and not node.paused]
        names = Counter(filter(None, (self.target.named_leader(node.place) for node in awake)))
        for name, _ in names.most_common(1):
            for node in self.nodes:
                if self.target.is_named(node.place, name):
                    return node
        return None

    def wait_for_leader(self, wait_s: float = _START_WAIT_S) -> None:
        """Until every node names the same leader. Raises ClusterError."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            nodes = [node for node in self.nodes if not node.away]
            dead = [node.name for node in nodes if not node.running]
            if dead:
                raise ClusterError(f"{', '.join(dead)} ended; see the logs in {self.folder}")
            seen = {self.target.named_leader(node.place) for node in nodes}
            if len(seen) == 1 and "" not in seen:
                return
            time.sleep(_POLL_S)
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


def numbered_ports(purposes: Sequence[str]) -> dict[str, int]:
    """The ports of nodes that have their addresses for themselves."""
    return {purpose: 8000 + at for at, purpose in enumerate(purposes)}


def free_ports(address: str, purposes: Sequence[str]) -> dict[str, int]:
    """A port for each purpose that is free for TCP and UDP at this moment. They lie below the range
    from which systems give ports to outgoing connections, which would soon take them."""
    dice = random.SystemRandom()
    held: list[socket.socket] = []
    ports: dict[str, int] = {}
    try:
        for _ in range(_PORT_TRIES * len(purposes)):
            if len(ports) == len(purposes):
                return ports
            port = dice.randrange(_PORT_MIN, _PORT_MAX)
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            held += [tcp, udp]
            with contextlib.suppress(OSError):
                tcp.bind((address, port))
                udp.bind((address, port))
                ports[purposes[len(ports)]] = port
    finally:
        for each in held:
            each.close()
    if len(ports) < len(purposes):
        raise ClusterError(f"no free ports at {address}")
    return ports
