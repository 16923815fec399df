"""Connections without requests to services of the mesh: whom they expect, how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from proxy.config import ProxyConfig
from proxy.connection import Connection, Outbound
from proxy.source import Endpoint, MeshState, UpstreamSpec
from proxy.spiffe import SpiffeId


class Departures:
    """Keeps each upstream to its limit of connections."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._open: Counter[str] = Counter()
        self._key_of: dict[Connection, str] = {}
        self._made: dict[Connection, str] = {}

    def to_service(
        self, state: MeshState, upstream: UpstreamSpec, candidates: Sequence[Endpoint]
    ) -> Outbound | None:
        """A connection to one of these, in order; None when the upstream has as many as it may.

        It counts from ``began`` to ``ended``.
        """
        settings = state.settings.get(upstream.key)
        if settings is not None and self._open[upstream.key] >= settings.limits.connections_max:
            return None
        service = candidates[0].service if candidates else ""
        datacenter = candidates[0].datacenter if service else upstream.datacenter
        core = Outbound(
            upstream=upstream.name,
            expected=SpiffeId.service(
                state.trust_domain, datacenter or state.datacenter, service or upstream.name
            ),
            candidates=candidates,
            config=self._config,
            connect_timeout_s=upstream.connect_timeout_s,
        )
        self._made = {core: upstream.key}
        return core

    def began(self, core: Connection) -> None:
        """The connection is there."""
        key = self._made.pop(core, None)
        if key is not None:
            self._key_of[core] = key
            self._open[key] += 1

    def ended(self, core: Connection) -> None:
        """The connection is gone."""
        key = self._key_of.pop(core, None)
        if key is not None:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
