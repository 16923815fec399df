"""Listening sockets that outlive the program: a restart in place hands them on to its next self.

Who connects meanwhile waits in the socket's queue, so no listening port is ever gone. The next self
is told by an environment variable which descriptor listens where. Only sockets bound to an address
take part; one bound to a host name is opened anew.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Literal

log = logging.getLogger("lictor.agent")

#: "tcp,127.0.0.1,8500,7;udp,..." with a descriptor at each end.
VARIABLE = "LICTOR_INHERITED_SOCKETS"

Kind = Literal["tcp", "udp"]
Place = tuple[str, str, int]

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Sockets:
    """Binds, and keeps a second descriptor of whatever is bound."""

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        """Take what a former self left in ``environment``; the variable is removed."""
        self._left: dict[Place, socket.socket] = {}
        self._held: dict[Place, int] = {}
        text = "" if environment is None else environment.pop(VARIABLE, "")
        for entry in filter(None, text.split(";")):
            found = _read(entry)
            if found is None:
                log.warning("an inherited socket is none entry=%s", entry)
            else:
                self._left[found[0]] = found[1]

    def bind(self, kind: Kind, host: str, port: int) -> socket.socket | None:
        """A socket bound to this address, not listening unless inherited; None for a host name.

        Raises OSError.
        """
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            return None
        place = (kind, host, port)
        found = self._left.pop(place, None) or _bound(_KINDS[kind], version, host, port)
        if port:
            self._held[place] = os.dup(found.fileno())
        return found

    def release(self) -> None:
        """No restart: what the faces close is closed."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
        self.close_rest()

    def close_rest(self) -> None:
        """What the former self listened on and this one does not."""
        for each in self._left.values():
            each.close()
        self._left.clear()

    def hand_on(self, environment: MutableMapping[str, str]) -> None:
        """Let the program that is executed next have them."""
        for descriptor in self._held.values():
            os.set_inheritable(descriptor, True)
        entries = (f"{k},{h},{p},{d}" for (k, h, p), d in self._held.items())
        environment[VARIABLE] = ";".join(entries)


def _bound(kind: socket.SocketKind, version: int, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _read(entry: str) -> tuple[Place, socket.socket] | None:
    """A socket that is what the entry says, or None."""
    kind, _, rest = entry.partition(",")
    host, port, descriptor, *_ = [*rest.split(","), "", "", ""]
    if kind not in _KINDS or not (port.isdecimal() and descriptor.isdecimal()):
        return None
    with contextlib.suppress(OSError, OverflowError):
        os.set_inheritable(int(descriptor), False)
        sock = socket.socket(fileno=int(descriptor))
        sock.setblocking(False)
        if sock.type == _KINDS[kind] and sock.getsockname()[:2] == (host, int(port)):
            return (kind, host, int(port)), sock
        sock.close()
    return None
