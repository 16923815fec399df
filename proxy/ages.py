"""How long a connection may outlive its client's certificate (mesh contract B.6).

A certificate is looked at when a connection begins. One that has ended since says nothing against
who is there, but nobody would be let in with it either: old connections have an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.certificate import PeerCertificate
    from proxy.config import ProxyConfig
    from proxy.source import OwnService

#: The share of the age that is up to chance, so that what began together does not end together.
JITTER = 0.1


def lifetime_s(age_s: float, not_after_at: float, *, wall: float, rng: random.Random) -> float:
    """Seconds from now on: about ``age_s``, and in any case until the certificate has ended.

    ``not_after_at`` and ``wall`` are Unix times.
    """
    return max(age_s * rng.uniform(1.0 - JITTER, 1.0 + JITTER), not_after_at - wall)


class Ages:
    """The same for the connections of one proxy, as its registration has it."""

    def __init__(self, config: ProxyConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._age_s = config.connection_age_s
        #: How long a stream may last that rules let in no more.
        self.stream_s = config.intention_drain_s

    def update(self, own: OwnService) -> None:
        """What the registration says counts before the configuration."""
        self._age_s = own.connection_age_s or self._config.connection_age_s
        self.stream_s = own.intention_drain_s or self._config.intention_drain_s

    def of(self, peer: PeerCertificate) -> float:
        """Seconds from now on for a connection of this client."""
        return lifetime_s(self._age_s, peer.not_after_at, wall=time.time(), rng=self._rng)

    @contextlib.contextmanager
    def watching(self, peer: PeerCertificate, grown_old: Callable[[], None]) -> Iterator[None]:
        """Calls back when the connection is old, unless it is over by then."""
        timer = asyncio.get_running_loop().call_later(self.of(peer), grown_old)
        try:
            yield
        finally:
            timer.cancel()
