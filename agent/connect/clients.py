"""Who has connections into the services of the mesh now, as agents tell each other over the ring.

An answer is one packet of the ring, so it is lines of text, the largest numbers first, and says
when there were more. What other members answer is read strictly, and trusted no further. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CLIENTS_QUERY = "lictor:clients"
#: Of an answer; the ring allows 1,024 with its own words.
ANSWER_BYTES_MAX = 900
ANY = "*"
_MORE = "+"
_COUNT_MAX = 10**9


@dataclass(frozen=True, slots=True, order=True)
class Standing:
    """Connections from one service into another on one host: ``connections`` that are bytes to
    the proxy, and ``http`` ones whose requests are decided one by one."""

    source: str
    destination: str
    node: str
    connections: int
    http: int


def wanted(payload: bytes) -> tuple[str, str] | None:
    """Which pair a query is about, None for what is no query of ours."""
    try:
        source, destination = payload.decode().split("\t")
    except ValueError:
        return None
    return (source, destination) if source and destination else None


def packed(standings: Iterable[Standing], bytes_max: int = ANSWER_BYTES_MAX) -> bytes:
    """An answer."""
    left, lines = bytes_max - len(_MORE) - 1, []
    ordered = sorted(standings, key=lambda each: (-each.connections - each.http, each))
    for each in ordered:
        line = f"{each.source}\t{each.destination}\t{each.connections}\t{each.http}\n"
        left -= len(line.encode())
        if left < 0:
            lines.append(_MORE)
            break
        lines.append(line)
    return "".join(lines).encode()


def read(payload: bytes, node: str) -> tuple[list[Standing], bool]:
    """What a member answered, and whether it had more; lines that are none are left out."""
    found = []
    lines = payload.decode(errors="replace").split("\n")
    for line in lines:
        parts = line.split("\t")
        if len(parts) != 4 or not all(each.isascii() and each.isdigit() for each in parts[2:]):
            continue
        counts = [int(each[:12]) for each in parts[2:]]
        if parts[0] and parts[1] and max(counts) <= _COUNT_MAX:
            found.append(Standing(parts[0], parts[1], node, *counts))
    return found, lines[-1] == _MORE
