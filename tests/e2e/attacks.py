"""What a hostile client does, in a process of its own: `python -m tests.e2e.attacks NAME HOST`.

It goes on until its standard input ends. All of it comes from one address.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping

ATTACKER = "127.0.0.1"
THREADS = 2


def connected(address: str, port: int = 8500) -> socket.socket:
    return socket.create_connection((address, port), 5, source_address=(ATTACKER, 0))


def many_connections(address: str) -> None:
    with contextlib.ExitStack() as held:
        for _ in range(60):
            held.enter_context(connected(address))
        time.sleep(0.05)


def many_requests(address: str, target: str = "/v1/kv/a") -> None:
    connection = http.client.HTTPConnection(address, 8500, 10, (ATTACKER, 0))
    with contextlib.closing(connection):
        for _ in range(200):
            connection.request("GET", target)
            connection.getresponse().read()


def huge_bodies(address: str) -> None:
    with connected(address) as sock:
        sock.sendall(b"PUT /v1/kv/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + bytes(65536) + b"\r\n"
        for _ in range(50):
            sock.sendall(piece)


def huge_heads(address: str) -> None:
    with connected(address) as sock:
        sock.sendall(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.recv(4096)
    with connected(address) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)))
        sock.recv(4096)


def slow_heads(address: str) -> None:
    with contextlib.ExitStack() as held:
        slow = [held.enter_context(connected(address)) for _ in range(30)]
        for byte in b"GET / HTTP/1.1\r\n":
            for each in slow:
                each.sendall(bytes([byte]))
            time.sleep(0.01)


def handshakes(address: str) -> None:
    with contextlib.ExitStack() as held:
        for number in range(20):
            each = held.enter_context(connected(address, 8501))
            if number % 2:
                each.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(400))
        time.sleep(0.05)


ATTACKS: Mapping[str, Callable[[str], None]] = {
    "connections": many_connections,
    "requests": many_requests,
    "requests about the agent": lambda address: many_requests(address, "/v1/agent/services"),
    "bodies": huge_bodies,
    "heads": huge_heads,
    "slowness": slow_heads,
    "handshakes": handshakes,
}


def main(name: str, address: str) -> None:
    def go_on() -> None:
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                ATTACKS[name](address)

    for _ in range(THREADS):
        threading.Thread(target=go_on, daemon=True).start()
    print("begun", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
