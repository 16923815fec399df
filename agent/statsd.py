"""Metrics as lines of statsd and of DogStatsD. Pure.

What only grows is told as what it grew by since the last time, everything else as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric


#: Bytes of one packet: it fits into a frame of Ethernet with all headers.
PACKET_BYTES = 1400
_GROWING = frozenset({"counter", "histogram"})


class Lines:
    """Remembers what was told, for one receiver."""

    def __init__(self, *, host: str = "", tags: Sequence[str] = (), dog: bool = False) -> None:
        """``host`` goes into the names of gauges, "" does not; ``dog``: tags are understood."""
        self._host = host
        self._tags = tuple(tags)
        self._dog = dog
        self._told: dict[str, float] = {}

    def next(self, metrics: Iterable[Metric]) -> list[str]:
        """The lines that are due now."""
        lines = []
        for metric in metrics:
            grows = metric.type in _GROWING
            for sample in metric.samples:
                if sample.name.endswith("_bucket"):
                    continue
                line = self._line(sample.name, sample.labels, sample.value, grows=grows)
                if line:
                    lines.append(line)
        return lines

    def _line(self, full: str, labels: Mapping[str, str], value: float, *, grows: bool) -> str:
        prefix, _, rest = full.partition("_")
        parts = [prefix, rest]
        if self._host and not grows:
            parts.insert(1, self._host)
        if not self._dog:
            parts += labels.values()
        name = ".".join(_clean(part) for part in parts)
        tags = [*self._tags, *(f"{k}:{v}" for k, v in labels.items())] if self._dog else []
        end = f"|#{','.join(tags)}" if tags else ""
        if not grows:
            return f"{name}:{value:g}|g{end}"
        key = f"{name}{end}"
        grown = value - self._told.get(key, 0.0)
        self._told[key] = value
        return f"{name}:{grown:g}|c{end}" if grown > 0 else ""


def _clean(part: str) -> str:
    """Without the letters that statsd gives a meaning."""
    return "".join("_" if char in ":|@#,. \n" else char for char in part)


def packets(lines: Iterable[str]) -> Iterator[bytes]:
    """As few packets as they fit into; a line that fits into none is left out."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        raw = line.encode("utf-8", "replace")
        if len(raw) > PACKET_BYTES:
            continue
        if held and size + len(raw) + 1 > PACKET_BYTES:
            yield b"\n".join(held)
            held, size = [], 0
        held.append(raw)
        size += len(raw) + 1
    if held:
        yield b"\n".join(held)
