"""Questions that others answer: whom to ask, who may ask, which reply counts (DNS contract 11).

Decides the order of the recursors, what a reply must be to be believed, who is an outsider, and
when a recursor sends our questions back to us. ``upstream`` owns the sockets.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dns.rcode import Rcode

from agent.dns.reply_reading import Unreadable, UpstreamReply, read_reply
from agent.dns.wire import HEADER_BYTES, LABEL_BYTES_MAX, NAME_BYTES_MAX, Question

DNS_PORT = 53
#: Who may use the recursors where nothing is configured: this host and networks that are not
#: routed in public (RFC 1918, 6598, 3927, 4193, 4291).
LOCAL_NETWORKS = (
    "127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
    "169.254.0.0/16", "fc00::/7", "fe80::/10",
)  # fmt: skip
#: A recursor that sent a question back is left out for so long, then tried again.
LOOP_HOLD_S = 60.0
#: A suspected recursor is probed at most this often, and the probe is remembered as long.
PROBE_EVERY_S = 5.0
_FINAL = frozenset({Rcode.NOERROR, Rcode.NXDOMAIN})
_QR = 0x8000

#: What is asked, whoever asks: labels in lower case, and the type.
Subject = tuple[tuple[bytes, ...], int]


@dataclass(frozen=True, slots=True)
class Recursor:
    """Another DNS server."""

    host: str
    port: int = DNS_PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_recursor(text: str) -> Recursor:
    """Read "ip", "ip:port" or "[ip]:port". Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if colon and (text.startswith("[") or text.count(":") == 1) and port.isdecimal():
        return Recursor(str(ipaddress.ip_address(host.strip("[]"))), int(port))
    return Recursor(str(ipaddress.ip_address(text.strip("[]"))))


def others(
    recursors: Sequence[Recursor], own: Sequence[tuple[str, int]]
) -> tuple[list[Recursor], list[Recursor]]:
    """Recursors to ask, and those that are our own listeners: asking them would be a loop."""
    kept: list[Recursor] = []
    ours: list[Recursor] = []
    for recursor in recursors:
        (ours if _is_own(recursor, own) else kept).append(recursor)
    return kept, ours


def _is_own(recursor: Recursor, own: Sequence[tuple[str, int]]) -> bool:
    for host, port in own:
        if port != recursor.port:
            continue
        bound, asked = ipaddress.ip_address(host), ipaddress.ip_address(recursor.host)
        if bound == asked or (bound.is_unspecified and asked.is_loopback):
            return True
    return False


class Insiders:
    """Who may have names outside the zones looked up."""

    __slots__ = ("_networks", "allows")

    def __init__(self, cidrs: Sequence[str]) -> None:
        """Raises ValueError for what is no network."""
        self._networks = [ipaddress.ip_network(cidr, strict=False) for cidr in cidrs]
        #: Whether an address (as text) belongs to one of the networks.
        self.allows = functools.lru_cache(maxsize=4096)(self._allows)

    def _allows(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


class Verdict(enum.Enum):
    """What to do about a packet that came from a recursor's address."""

    #: It is the answer.
    FINAL = "final"
    #: It is this recursor's reply, and no answer: ask the next.
    NEXT = "next"
    #: It is not the reply to this question: go on waiting.
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and, where the packet could be read, what is in it."""

    verdict: Verdict
    reply: UpstreamReply | None = None


def with_id(packet: bytes, number: int) -> bytes:
    """The same packet under another id."""
    return number.to_bytes(2, "big") + packet[2:]


def judge(question: Question, number: int, data: bytes, *, bytes_max: int) -> Judged:
    """Whether ``data`` answers a question that was sent with the id ``number``.

    ``bytes_max`` is what the question allowed. An id or a question that differs means that the
    packet is somebody else's, or a guess of somebody who wants to be believed.
    """
    if len(data) < HEADER_BYTES or int.from_bytes(data[:2], "big") != number:
        return Judged(Verdict.IGNORE)
    flags = data[2] << 8 | data[3]
    if not flags & _QR or (flags ^ question.flags) & 0x7800:
        return Judged(Verdict.IGNORE)
    try:
        reply = read_reply(data)
    except Unreadable:
        return Judged(Verdict.NEXT)
    if not reply.name:
        # Only a refusal may leave the question out.
        is_final = reply.rcode in _FINAL
        return Judged(Verdict.IGNORE if is_final else Verdict.NEXT, reply)
    asked = (question.name.lower(), question.qtype, int.from_bytes(question.wire[-2:], "big"))
    if asked != (reply.name, reply.qtype, reply.qclass):
        return Judged(Verdict.IGNORE)
    if reply.rcode not in _FINAL or len(data) > bytes_max:
        return Judged(Verdict.NEXT, reply)
    return Judged(Verdict.FINAL, reply)


class Loops:
    """Finds recursors that send our questions back to us.

    A question that comes from a recursor's own host while that recursor is being asked the very
    same is a suspicion, no more: another client may live there. So the suspect is asked for a name
    that nobody else can know; when that name comes to us, it is proved.
    """

    __slots__ = ("_looping", "_probed", "_probes", "_under_way")

    def __init__(self) -> None:
        self._under_way: Counter[tuple[Subject, str]] = Counter()
        self._probes: dict[bytes, tuple[Recursor, float]] = {}
        self._probed: dict[Recursor, float] = {}
        self._looping: dict[Recursor, float] = {}

    def begin(self, subject: Subject, recursor: Recursor) -> None:
        """``recursor`` is being asked."""
        self._under_way[subject, recursor.host] += 1

    def end(self, subject: Subject, recursor: Recursor) -> None:
        """It is not any more."""
        key = (subject, recursor.host)
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]

    def is_suspicious(self, subject: Subject, client: str) -> bool:
        """Whether the client's host is being asked the same by us."""
        return bool(self._under_way) and (subject, client) in self._under_way

    def probe(
        self, name: bytes, recursors: Sequence[Recursor], client: str, now: float,
        rng: random.Random,
    ) -> list[tuple[Recursor, bytes]]:  # fmt: skip
        """Which recursors on the client's host to ask for which name, in wire form."""
        for label, (_, at) in list(self._probes.items()):
            if now - at >= PROBE_EVERY_S:
                del self._probes[label]
        found: list[tuple[Recursor, bytes]] = []
        for recursor in recursors:
            if recursor.host != client or now - self._probed.get(recursor, -1e9) < PROBE_EVERY_S:
                continue
            label = b"loop-%032x" % rng.getrandbits(128)
            # Under the suspected name, as a recursor may send different domains different ways.
            rest = name
            while len(rest) + 1 + len(label) > NAME_BYTES_MAX:
                rest = rest[1 + rest[0] :]
            assert len(label) <= LABEL_BYTES_MAX
            self._probed[recursor] = now
            self._probes[label] = (recursor, now)
            found.append((recursor, bytes((len(label),)) + label + rest))
        return found

    def met(self, labels: tuple[bytes, ...], now: float) -> Recursor | None:
        """The recursor that is proved to send questions back, if these labels are of its probe."""
        if not self._probes or not labels:
            return None
        found = self._probes.pop(labels[0], None)
        if found is None:
            return None
        self._looping[found[0]] = now
        return found[0]

    def usable(self, recursors: Sequence[Recursor], now: float) -> list[Recursor]:
        """The recursors without those that are known to loop."""
        if not self._looping:
            return list(recursors)
        for recursor, since in list(self._looping.items()):
            if now - since >= LOOP_HOLD_S:
                del self._looping[recursor]
        return [recursor for recursor in recursors if recursor not in self._looping]

    def known(self) -> tuple[Recursor, ...]:
        """Those that loop."""
        return tuple(self._looping)
