"""What a hostile client does to a sidecar, in a process of its own:
`python -m tests.e2e.mesh_attacks NAME ADDRESS PUBLIC_PORT HTTP_PORT HTTP2_PORT CERTIFICATE KEY`.

It goes on until its standard input ends, at rates that one attacker can keep up from afar: whoever
has all of a core of the same host takes it from the sidecar's one loop, whatever the sidecar does.
Certificate and key are those of a member of the mesh.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from h2.config import H2Configuration
from h2.connection import H2Connection

from tests.e2e.attacks import THREADS

#: Messages with two readings (contract D.5).
TWO_READINGS = (
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
)


@dataclass(frozen=True)
class Target:
    address: str
    public: int
    http: int
    http2: int
    certificate: str
    key: str

    def connected(self, port: int) -> socket.socket:
        return socket.create_connection((self.address, port), 5)


def slow_heads(at: Target) -> None:
    with contextlib.ExitStack() as held:
        slow = [held.enter_context(at.connected(at.http)) for _ in range(100)]
        for byte in b"GET / HTTP/1.1\r\n":
            for each in slow:
                each.sendall(bytes([byte]))
            time.sleep(0.2)


def header_floods(at: Target) -> None:
    for head in (b"GET /" + b"a" * 100_000, b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 10_000):
        with at.connected(at.http) as sock:
            sock.sendall(head)
            sock.recv(4096)
    time.sleep(0.05)


def two_readings(at: Target) -> None:
    for raw in TWO_READINGS:
        with at.connected(at.http) as sock:
            sock.sendall(raw)
            sock.recv(4096)
    time.sleep(0.05)


def half_open(at: Target) -> None:
    with contextlib.ExitStack() as held:
        for number in range(300):
            each = held.enter_context(at.connected(at.public))
            if number % 2:
                each.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        time.sleep(0.5)


def garbage_before_tls(at: Target) -> None:
    for _ in range(5):
        with at.connected(at.public) as sock:
            sock.sendall(os.urandom(4096))
            sock.recv(4096)
    time.sleep(0.05)


def garbage_inside_tls(at: Target) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(at.certificate, at.key)
    with at.connected(at.public) as raw, context.wrap_socket(raw) as sock:
        sock.sendall(os.urandom(65_536))
        sock.recv(4096)
    time.sleep(0.05)


def rapid_resets(at: Target) -> None:
    with at.connected(at.http2) as sock:
        codec = H2Connection(H2Configuration(client_side=True))
        codec.initiate_connection()
        head = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
        for _ in range(2000):
            stream = codec.get_next_available_stream_id()
            codec.send_headers(stream, head, end_stream=True)
            codec.reset_stream(stream)
            sock.sendall(codec.data_to_send())
    time.sleep(0.5)


ATTACKS: Mapping[str, Callable[[Target], None]] = {
    "slow heads": slow_heads,
    "header floods": header_floods,
    "two readings": two_readings,
    "half open": half_open,
    "garbage before TLS": garbage_before_tls,
    "garbage inside TLS": garbage_inside_tls,
    "rapid resets": rapid_resets,
}


def main(name: str, at: Target) -> None:
    def go_on() -> None:
        while True:
            with contextlib.suppress(OSError):
                ATTACKS[name](at)
                continue
            time.sleep(0.5)

    for _ in range(THREADS):
        threading.Thread(target=go_on, daemon=True).start()
    print("begun", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    name, address, public, http, http2, certificate, key = sys.argv[1:]
    main(name, Target(address, int(public), int(http), int(http2), certificate, key))
