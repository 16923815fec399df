"""What a link between two hosts does to packets: a pure decision, made for each packet.

Links have a direction; a host is a number. Times are seconds of the caller's clock.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jepsen_lite.history import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link's behaviour. With jitter, packets overtake each other."""

    cut: bool = False
    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0


WHOLE = Link()


class Links:
    """All links; one that was never named is whole."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._links: dict[tuple[int, int], Link] = {}
        self._free_at: dict[tuple[int, int], float] = {}

    def set(self, source: int, target: int, link: Link) -> None:
        self._links[source, target] = link

    def clear(self) -> None:
        """Every link is whole again."""
        self._links.clear()
        self._free_at.clear()

    def obey(self, rules: Mapping[str, Any]) -> None:
        """Do what an order says: ``{"clear": true, "links": [[1, 2, {"cut": true}], …]}``."""
        if rules.get("clear"):
            self.clear()
        for source, target, link in rules.get("links", []):
            self.set(source, target, Link(**link))

    def deliver_at(self, now: float, source: int, target: int, size: int) -> float | None:
        """When a packet of so many bytes arrives; None if it never does."""
        link = self._links.get((source, target), WHOLE)
        if link is WHOLE:
            return now
        if link.cut or (link.loss and self._rng.random() < link.loss):
            return None
        at = now + link.delay_s + (self._rng.uniform(0, link.jitter_s) if link.jitter_s else 0.0)
        if link.bytes_per_s:
            begun = max(now, self._free_at.get((source, target), now))
            self._free_at[source, target] = begun + size / link.bytes_per_s
            at += self._free_at[source, target] - now
        return at


def as_json(link: Link) -> dict[str, Json]:
    """For the way to the switch."""
    return {
        "cut": link.cut,
        "loss": link.loss,
        "delay_s": link.delay_s,
        "jitter_s": link.jitter_s,
        "bytes_per_s": link.bytes_per_s,
    }
