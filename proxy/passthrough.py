"""A connection that leaves the mesh as it came: in clear, to where the application meant."""

from __future__ import annotations

from proxy.certificate import PeerCertificate
from proxy.config import ProxyConfig
from proxy.connection import Outbound, Phase
from proxy.effects import Dial, Effect, HangUp, StartRelay
from proxy.source import AppAddress
from proxy.spiffe import SpiffeId


class PassThrough(Outbound):
    """Outbound, but nobody's identity is asked for."""

    __slots__ = ("_to",)

    def __init__(self, *, to: AppAddress, config: ProxyConfig) -> None:
        super().__init__(
            upstream=f"{to.address}:{to.port}",
            expected=SpiffeId.service("", "", ""),
            candidates=(),
            config=config,
        )
        self._to = to

    def start(self, *, now: float) -> list[Effect]:
        """The application connected: dial where it wanted to go."""
        if self.phase is not Phase.DIALLING:
            return []
        self.deadline = now + self._connect_s
        return [Dial(self._to)]

    def dialled(self, peer: PeerCertificate | None, *, now: float) -> list[Effect]:
        """It answers."""
        if self.phase is not Phase.DIALLING:
            return [HangUp()]
        self.phase = Phase.RELAYING
        self.deadline = None
        return [StartRelay()]
