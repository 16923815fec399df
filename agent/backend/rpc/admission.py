"""How often strangers may begin a TLS handshake, and how many bytes a client may have us hold.

Pure. A handshake costs this side a signature and the check of a chain, one to two milliseconds of
the event loop that also carries Raft. So each address has a rate, and all together have one. The
addresses of known servers are held to their own rate only, so that nobody can keep servers apart by
knocking.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

from agent.rates import Bucket, Buckets

#: An IPv6 host may be given so many leading bits for itself (RFC 6177).
IPV6_SITE_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeRates:
    """Handshakes a second, and how many at once after a quiet time."""

    per_client: float = 20.0
    client_burst: float = 100.0
    in_all: float = 100.0
    burst: float = 200.0
    #: Addresses with a rate of their own that are remembered; the longest quiet is forgotten first.
    clients_max: int = 4096


class Handshakes:
    """Says of each handshake whether it may begin."""

    def __init__(self, rates: HandshakeRates) -> None:
        self._rates = rates
        self._clients = Buckets(rates.per_client, rates.client_burst, rates.clients_max)
        self._all: Bucket | None = None

    def refusal(self, client: str, *, now: float, known: bool) -> str:
        """Why it may not, "" if it may. ``known``: it is the address of a server."""
        own = self._clients.of(site(client), now)
        if self._all is None:
            self._all = Bucket(self._rates.in_all, self._rates.burst, now)
        if own.level(now) < 1.0:
            return "handshakes of one client"
        if known:
            own.take()
            return ""
        if self._all.level(now) < 1.0:
            return "handshakes in all"
        own.take()
        self._all.take()
        return ""


def site(client: str) -> str:
    """What stands for a client's address: itself, or the IPv6 network that one host may own."""
    if ":" not in client:
        return client
    try:
        address = ipaddress.IPv6Address(client.partition("%")[0])
    except ValueError:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_SITE_BITS), strict=False))


class Shares:
    """Bytes held for each client: frames that are not complete, requests, unread answers."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()
        self.total = 0
        """What is held for all."""

    def change(self, client: str, by: int) -> bool:
        """Hold more, or less; False when that is more than a client's share."""
        self.total += by
        held = self._held[client] + by
        if held > 0:
            self._held[client] = held
        else:
            self._held.pop(client, None)
        return by <= 0 or held <= self._most

    def held(self, client: str) -> int:
        """What is held for a client now."""
        return self._held.get(client, 0)
