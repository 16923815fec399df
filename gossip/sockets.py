"""Sockets of one member: UDP and TCP on one port, and the address that peers are told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

from gossip.addresses import socket_address
from gossip.config import GossipConfig
from gossip.effects import SendPacket
from gossip.keyring import NONCE_BYTES
from gossip.stats import GossipStats
from gossip.wire.frames import Framing

log = logging.getLogger("lictor.gossip.sockets")

STREAM = socket.SOCK_STREAM
#: A packet that did not leave for these says nothing of the member it was for.
OWN_FAULTS = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.ENOBUFS, errno.ENOMEM})
RECEIVE_BUFFER_BYTES = 2 * 1024 * 1024
BACKLOG = 128
FREE_PORT_TRIES = 16
# RFC 5737: an address nobody has; connecting a UDP socket to it sends nothing.
DOCUMENTATION_V4 = "192.0.2.1"
DOCUMENTATION_V6 = "2001:db8::1"


def family_of(address: str) -> socket.AddressFamily:
    """IPv6 for addresses with colons, IPv4 otherwise."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bind_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """(TCP, UDP) bound to one port; 0 finds one that is free for both. Raises OSError."""
    tries = FREE_PORT_TRIES if port == 0 else 1
    for left in reversed(range(tries)):
        tcp = _bound(address, port, socket.SOCK_STREAM)
        try:
            udp = _bound(address, tcp.getsockname()[1], socket.SOCK_DGRAM)
        except OSError:
            tcp.close()
            if not left:
                raise
            continue
        tcp.listen(BACKLOG)
        _widen(udp)
        return tcp, udp
    raise AssertionError("unreachable")


def _bound(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(family_of(address), kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
        except OSError as error:
            name = "TCP" if kind == socket.SOCK_STREAM else "UDP"
            where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
            words = f"cannot listen for gossip on {where} ({name}): {error.strerror}"
            raise OSError(error.errno, words) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _widen(udp: socket.socket) -> None:
    """Ask for a large receive buffer, halving until it is granted."""
    size = RECEIVE_BUFFER_BYTES
    while size >= 65_536:
        with contextlib.suppress(OSError):
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            return
        size //= 2


def advertised_address(config: GossipConfig) -> str:
    """The address for peers: as configured, as bound, or the host's own behind a wildcard."""
    text = config.advertise_address or config.bind_address
    address = ipaddress.ip_address(text.partition("%")[0])
    if not address.is_unspecified:
        return str(address)
    family = family_of(text)
    target = DOCUMENTATION_V6 if family == socket.AF_INET6 else DOCUMENTATION_V4
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"


class Sender:
    """Puts packets on the network, and knows which did not leave this host."""

    __slots__ = ("_framing", "_stats", "_stuck")

    def __init__(self, framing: Framing, stats: GossipStats) -> None:
        self._framing = framing
        self._stats = stats
        self._stuck = False

    def send(self, packet: SendPacket, udp: asyncio.DatagramTransport | None) -> bool:
        """False when it was no fault of the target's that it did not leave."""
        target = socket_address(packet.to)
        if target is None or udp is None or udp.is_closing():
            self._stats.packet_send_errors += 1
            return True
        nonce = os.urandom(NONCE_BYTES) if self._framing.seals else b""
        data = self._framing.encode_packet(packet.messages, crc=packet.crc, nonce=nonce)
        before, self._stuck = self._stats.packet_send_errors, False
        try:
            udp.sendto(data, target)  # tells ``failed`` before it comes back, or raises
        except (OSError, ValueError) as error:
            self.failed(error)
        if self._stats.packet_send_errors == before:
            self._stats.packets_sent += 1
            self._stats.packet_bytes_sent += len(data)
        return not self._stuck

    def failed(self, error: Exception) -> None:
        """A packet was not sent."""
        self._stats.packet_send_errors += 1
        self._stuck = isinstance(error, OSError) and error.errno in OWN_FAULTS
        log.debug("packet not sent error=%s", error)


class Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams on."""

    def __init__(
        self,
        received: Callable[[bytes, tuple[Any, ...]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._received = received
        self._failed = failed

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._failed(exc)
