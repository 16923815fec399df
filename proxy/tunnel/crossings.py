"""The streams of one side that have a connection of their own, and what became of offers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from proxy.certificate import PeerCertificate
from proxy.relay import TlsStream
from proxy.telemetry.own_streams import RESULTS, TAKEN, Standing
from proxy.tunnel.crossing import Crossing
from proxy.tunnel.stream import TunnelStream


class Crossings:
    """All of them, of one side."""

    def __init__(self, revoked: Callable[[PeerCertificate], str], *, block_bytes: int) -> None:
        self._revoked = revoked
        self._block_bytes = block_bytes
        self._all: set[Crossing] = set()
        #: Of those that are over: bytes from applications and from peers.
        self._past = (0, 0)
        self.results: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, half: TunnelStream, own: TlsStream, peer: PeerCertificate) -> Crossing:
        """A stream has got its connection; ``peer`` is who is at the other end of that."""
        crossing = Crossing(half, own, self, peer, block_bytes=self._block_bytes)
        self._all.add(crossing)
        return crossing

    def begun(self) -> None:
        """A stream goes over its connection."""
        self.results[TAKEN] += 1

    def gone(self, crossing: Crossing) -> None:
        """It is over."""
        self._all.discard(crossing)
        app, peer = crossing.moved
        self._past = self._past[0] + app, self._past[1] + peer

    def cut_revoked(self) -> None:
        """Other certificates count no more. A stream's own connection may be under another
        certificate than its tunnel, by which its session is cut."""
        for crossing in list(self._all):
            if self._revoked(crossing.peer):
                crossing.cut("certificate_revoked")

    def close(self) -> None:
        """Reset everything."""
        for crossing in list(self._all):
            crossing.stop()

    def standing(self) -> Standing:
        """The figures."""
        moved = [self._past, *(each.moved for each in self._all)]
        return Standing(
            len(self._all),
            self.results,
            sum(app for app, _ in moved),
            sum(peer for _, peer in moved),
        )

    def explain(self) -> dict[str, Any]:
        """For people."""
        return {
            "open": len(self._all),
            "offers": {result: self.results[result] for result in RESULTS},
            "streams": [each.explain() for each in self._all],
        }
