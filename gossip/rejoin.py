"""What a member remembers over a restart: its peers and how far its Lamport clocks were.

Gossip wire contract, section 5.8, and its text format, so a file that Serf or Consul left is read
as well: one fact a line, the later one counts. Lines are appended; when the file has become much
longer than what it says, it is written anew. Pure: the file itself is gossip.rejoin_file's.

Differing from the reference a member that failed stays a peer until it is reaped: when a whole ring
loses power, each sees the others fail before it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gossip.lamport import LTIME_MAX

#: Enough to find the ring again; more only makes the file long.
PEERS_MAX = 1024
#: The file is written anew when it is longer than the greater of these.
COMPACT_MIN_BYTES = 128 * 1024
COMPACT_BYTES_PER_PEER = 256
_HEAD = "# peers and clocks of a gossip member; written by it alone\n"
_IGNORED = ("coordinate:", "#")


class Clocks(NamedTuple):
    """The last Lamport times seen: of members, user events, queries. 0: none."""

    member: int = 0
    event: int = 0
    query: int = 0


_CLOCK_WORDS = ("clock", "event-clock", "query-clock")


@dataclass(frozen=True, slots=True)
class Remembered:
    """Addresses of peers ("ip:port") by name, and clocks."""

    peers: Mapping[str, str] = field(default_factory=dict)
    clocks: Clocks = field(default_factory=Clocks)


def parse(data: bytes, *, after_leave: bool = False) -> tuple[Remembered, str]:
    """What a file says, and what is wrong with it ("" if nothing is).

    A last line without an end was being written when the host stopped: it does not count, and is no
    fault. After a line that says that the member left nothing is remembered, unless
    ``after_leave``.
    """
    peers: dict[str, str] = {}
    clocks = [0, 0, 0]
    wrong = 0
    *lines, _ = data.split(b"\n")
    for raw in lines:
        try:
            line = raw.decode()
        except UnicodeDecodeError:
            wrong += 1
            continue
        word, _, rest = line.partition(": ")
        if word == "alive":
            name, _, address = rest.rpartition(" ")
            if _usable(name, address):
                if name in peers or len(peers) < PEERS_MAX:
                    peers[name] = address
            else:
                wrong += 1
        elif word == "not-alive":
            peers.pop(rest, None)
        elif word in _CLOCK_WORDS and rest.isascii() and rest.isdecimal() and len(rest) <= 20:
            clocks[_CLOCK_WORDS.index(word)] = min(int(rest), LTIME_MAX)
        elif line == "leave":
            if not after_leave:
                peers, clocks = {}, [0, 0, 0]
        elif line and not line.startswith(_IGNORED):
            wrong += 1
    problem = f"{wrong} of {len(lines)} lines cannot be read" if wrong else ""
    return Remembered(peers, Clocks(*clocks)), problem


def _usable(name: str, address: str) -> bool:
    host, _, port = address.rpartition(":")
    number = port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65_535
    return bool(name and host and number and name.isprintable())


class Ledger:
    """What is to be remembered, and which lines the file lacks."""

    __slots__ = ("_clocks", "_peers", "_pending", "_size")

    def __init__(self, known: Remembered, size_bytes: int) -> None:
        """``known`` stands in the file already, which is so long."""
        self._peers = dict(known.peers)
        self._clocks = known.clocks
        self._pending: list[str] = []
        self._size = size_bytes

    @property
    def peers(self) -> Mapping[str, str]:
        """Addresses by name."""
        return self._peers

    @property
    def pending(self) -> bool:
        """Whether the file lacks something."""
        return bool(self._pending)

    @property
    def too_long(self) -> bool:
        """Whether the file should be written anew."""
        limit = max(COMPACT_MIN_BYTES, COMPACT_BYTES_PER_PEER * len(self._peers))
        return self._size > limit

    def alive(self, name: str, address: str) -> None:
        """A member can be reached there."""
        if self._peers.get(name) == address or not _usable(name, address):
            return
        if name not in self._peers and len(self._peers) >= PEERS_MAX:
            return
        self._peers[name] = address
        self._pending.append(f"alive: {name} {address}\n")

    def gone(self, name: str) -> None:
        """A member left, or was forgotten."""
        if self._peers.pop(name, None) is not None:
            self._pending.append(f"not-alive: {name}\n")

    def clocks(self, clocks: Clocks) -> None:
        """So far the clocks are now; they never go back."""
        for word, before, now in zip(_CLOCK_WORDS, self._clocks, clocks, strict=True):
            if now > before:
                self._pending.append(f"{word}: {now}\n")
        self._clocks = Clocks(*map(max, self._clocks, clocks))

    def take(self) -> bytes:
        """The lines that the file lacks, to be appended."""
        data, self._pending = "".join(self._pending).encode(), []
        self._size += len(data)
        return data

    def image(self) -> bytes:
        """A whole new file."""
        times = zip(_CLOCK_WORDS, self._clocks, strict=True)
        lines = [f"{word}: {time}\n" for word, time in times if time]
        lines += [f"alive: {name} {address}\n" for name, address in self._peers.items()]
        data = (_HEAD + "".join(lines)).encode()
        self._pending = []
        self._size = len(data)
        return data
