"""Who asks what of the services of the mesh, as agents tell each other over the ring.

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
_DIGITS_MAX = 9


@dataclass(frozen=True, slots=True, order=True)
class Counts:
    """Two numbers about one service as another's client on one host.

    Of connections that stand: those that are bytes to the proxy, and those whose requests are
    decided one by one. Of what was seen (`Wanted.since_s`): what was let in, and what was refused;
    requests, or connections where the proxy sees no requests.
    """

    source: str
    destination: str
    node: str
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked: about which pair, where * is any; and about connections that stand, or about
    what was seen in the last so many seconds."""

    source: str
    destination: str
    since_s: int | None = None

    def covers(self, source: str, destination: str) -> bool:
        """Whether it is about this pair."""
        return self.source in (ANY, source) and self.destination in (ANY, destination)

    def payload(self) -> bytes:
        """As the ring carries it."""
        words = [self.source, self.destination]
        if self.since_s is not None:
            words.append(str(self.since_s))
        return "\t".join(words).encode()


def wanted(payload: bytes) -> Wanted | None:
    """The reverse, None for what is no query of ours."""
    try:
        source, destination, *rest = payload.decode().split("\t")
    except ValueError:
        return None
    if not source or not destination or len(rest) > 1:
        return None
    if not rest:
        return Wanted(source, destination)
    text = rest[0]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        return None
    return Wanted(source, destination, int(text))


def packed(counts: Iterable[Counts], bytes_max: int = ANSWER_BYTES_MAX) -> bytes:
    """An answer."""
    left, lines = bytes_max - len(_MORE) - 1, []
    ordered = sorted(counts, key=lambda each: (-each.first - each.second, each))
    for each in ordered:
        line = f"{each.source}\t{each.destination}\t{each.first}\t{each.second}\n"
        left -= len(line.encode())
        if left < 0:
            lines.append(_MORE)
            break
        lines.append(line)
    return "".join(lines).encode()


def read(payload: bytes, node: str) -> tuple[list[Counts], bool]:
    """What a member answered, and whether it had more; lines that are none are left out."""
    found = []
    lines = payload.decode(errors="replace").split("\n")
    for line in lines:
        parts = line.split("\t")
        if len(parts) != 4 or not all(each.isascii() and each.isdigit() for each in parts[2:]):
            continue
        numbers = [int(each[:12]) for each in parts[2:]]
        if parts[0] and parts[1] and max(numbers) <= _COUNT_MAX:
            found.append(Counts(parts[0], parts[1], node, *numbers))
    return found, lines[-1] == _MORE
