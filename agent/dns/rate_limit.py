"""How many alike replies one network gets over UDP in a second.

Whoever asks in another's name makes us send him what he did not ask for, and a small question has a
large answer. So replies to one network are counted; what is too much is dropped, and every so many
of these is answered with nothing but TC set: a client that is really there comes back over TCP,
whose handshake cannot be forged. Alike are replies to one question, and all errors of one kind:
made-up names would otherwise each be the first. (As BIND's and NSD's response rate limiting.)
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence

from agent.dns.wire import HEADER_BYTES

#: A network is so many leading bits of an address: what one customer usually has.
V4_BITS, V6_BITS = 24, 56
_TC = 0x02
_NO_ERROR = 0


class Fate(enum.Enum):
    """What becomes of a reply."""

    SENT = "sent"
    DROPPED = "dropped"
    #: Sent without its records and with TC.
    SLIPPED = "slipped"


class ResponseRates:
    """A bucket of replies for each network and kind of reply, bounded in number."""

    __slots__ = ("_buckets", "_buckets_max", "_exempt", "_networks", "_rate", "_slip")

    def __init__(
        self, per_second: int, *, slip: int, exempt: Sequence[str], buckets_max: int
    ) -> None:
        """``slip``: every so many replies that are too much is sent with TC; 0 none. ``exempt``
        are networks that are not counted. Raises ValueError for what is no network."""
        assert per_second > 0
        assert buckets_max > 0
        self._rate = per_second
        self._slip = slip
        self._exempt = [ipaddress.ip_network(cidr, strict=False) for cidr in exempt]
        self._buckets_max = buckets_max
        #: Key -> [replies left, when that was, dropped in a row]; the one used last at the end.
        self._buckets: dict[tuple[bytes, bytes], list[float]] = {}
        #: Address as text -> its network, None if exempt; dropped as a whole when full.
        self._networks: dict[str, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def decide(self, client: str, reply: bytes, now: float) -> Fate:
        """What becomes of a packet to ``client``; ``now`` in seconds of a clock that only grows."""
        network = self._network(client)
        if network is None:
            return Fate.SENT
        rcode = reply[3] & 0xF
        kind = reply[HEADER_BYTES : question_end(reply)] if rcode == _NO_ERROR else b""
        key = (network, bytes((rcode,)) + kind.lower())
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = [float(self._rate), now, 0.0]
            if len(self._buckets) >= self._buckets_max:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket
        left = min(float(self._rate), bucket[0] + (now - bucket[1]) * self._rate)
        bucket[1] = now
        if left >= 1.0:
            bucket[0], bucket[2] = left - 1.0, 0.0
            return Fate.SENT
        bucket[0] = left
        bucket[2] += 1.0
        if self._slip and int(bucket[2]) % self._slip == 0:
            return Fate.SLIPPED
        return Fate.DROPPED

    def _network(self, client: str) -> bytes | None:
        try:
            return self._networks[client]
        except KeyError:
            pass
        address = ipaddress.ip_address(client.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        bits = V4_BITS if address.version == 4 else V6_BITS
        is_exempt = any(address in network for network in self._exempt)
        found = None if is_exempt else address.packed[: bits // 8]
        if len(self._networks) >= self._buckets_max:
            self._networks.clear()
        self._networks[client] = found
        return found


def question_end(packet: bytes) -> int:
    """Where the question section of one of our packets ends; the header's end if it has none."""
    if packet[4:6] == b"\0\0":
        return HEADER_BYTES
    at = HEADER_BYTES
    while packet[at]:
        at += packet[at] + 1
    return at + 5


def slipped(reply: bytes) -> bytes:
    """The reply without its records, and with TC."""
    flags = bytes((reply[2] | _TC, reply[3]))
    return reply[:2] + flags + reply[4:6] + b"\0" * 6 + reply[HEADER_BYTES : question_end(reply)]
