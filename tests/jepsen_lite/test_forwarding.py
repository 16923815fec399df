"""Hosts behind forwarded ports: what goes through, what a link keeps, and whose a packet is."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from jepsen_lite.cluster import free_ports
from jepsen_lite.forwarding import Forwarding
from jepsen_lite.links import Link
from jepsen_lite.network import NetworkError
from jepsen_lite.owners import inode_of, owner_of

CUT = Link(cut=True)
#: A host that sends a line to each face it is told of, and tells what it was answered.
CALLER = """
import socket, sys
held = {}
for line in sys.stdin:
    face, port, text = line.split()
    try:
        if face not in held:
            held[face] = socket.create_connection((face, int(port)), timeout=20)
        held[face].sendall(text.encode() + b"\\n")
        print(held[face].recv(100).decode().strip() or "closed", flush=True)
    except OSError as error:
        held.pop(face, None)
        print(type(error).__name__, flush=True)
"""


class Echo:
    """What runs on a host: it sends back what comes, by stream and datagram."""

    def __init__(self, address: str, port: int) -> None:
        self.listening = socket.create_server((address, port))
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind((address, port))
        self.datagrams.settimeout(20)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1000):
                connection.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.datagrams.close()


class Rig:
    def __init__(self) -> None:
        self.port = free_ports("127.0.0.1", ["peer"])["peer"]
        self.network = Forwarding(2, [self.port])
        self.network.open()
        self.echoes = [Echo(self.network.address(host), self.port) for host in (1, 2)]
        self.caller = subprocess.Popen(
            [sys.executable, "-c", CALLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.network.started(1, self.caller.pid)

    def tell(self, text: str) -> None:
        assert self.caller.stdin is not None
        self.caller.stdin.write(f"{self.network.seen_as(2)} {self.port} {text}\n")
        self.caller.stdin.flush()

    def told(self) -> str:
        assert self.caller.stdout is not None
        return self.caller.stdout.readline().strip()

    def close(self) -> None:
        assert self.caller.stdin is not None
        assert self.caller.stdout is not None
        self.caller.stdin.close()
        self.caller.wait(10)
        self.caller.stdout.close()
        for echo in self.echoes:
            echo.close()
        self.network.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    try:
        yield made
    finally:
        made.close()


def test_a_stream_goes_through_and_waits_while_a_link_is_cut(rig: Rig) -> None:
    rig.tell("one")
    assert rig.told() == "one"
    rig.network.set([(2, 1, CUT)])  # the answer does not arrive
    rig.tell("two")
    heard: list[str] = []
    listening = threading.Thread(target=lambda: heard.append(rig.told()))
    listening.start()
    listening.join(0.7)
    assert heard == []
    rig.network.heal()
    listening.join(20)
    assert heard == ["two"]


def test_a_connection_of_nobody_known_is_closed(rig: Rig) -> None:
    with socket.create_connection((rig.network.seen_as(2), rig.port), timeout=20) as stranger:
        try:
            assert stranger.recv(10) == b""
        except ConnectionResetError:
            pass


def test_a_refused_connection_is_refused(rig: Rig) -> None:
    rig.echoes[1].close()
    rig.tell("one")
    assert rig.told() in {"closed", "ConnectionResetError"}


def test_datagrams_come_from_the_face_of_who_sent_them(rig: Rig) -> None:
    one, two = (echo.datagrams for echo in rig.echoes)
    one.sendto(b"ping", (rig.network.seen_as(2), rig.port))
    data, sender = two.recvfrom(100)
    assert (data, sender) == (b"ping", (rig.network.seen_as(1), rig.port))
    rig.network.set([(1, 2, CUT)])
    one.sendto(b"lost", (rig.network.seen_as(2), rig.port))
    for _ in range(2):  # whoever has answered an order twice has read what came before
        rig.network.set([])
    rig.network.set([(1, 2, Link(delay_s=0.3))])
    began = time.monotonic()
    one.sendto(b"late", (rig.network.seen_as(2), rig.port))
    assert two.recvfrom(100)[0] == b"late"
    assert time.monotonic() - began >= 0.3


def test_a_port_that_is_taken_is_said(rig: Rig) -> None:
    other = Forwarding(2, [rig.port])
    with pytest.raises(NetworkError, match="in use"):
        other.open()


def test_a_connection_has_its_owner() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as connection,
    ):
        here, there = connection.getsockname(), connection.getpeername()
        assert inode_of(here, there) == os.fstat(connection.fileno()).st_ino
        assert owner_of(here, there, {1: 1, 7: os.getpid()}) == 7
        assert owner_of(here, there, {1: 1}) is None
        assert owner_of(("127.0.0.1", 1), there, {7: os.getpid()}) is None
