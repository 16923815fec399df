"""Tells the metrics to statsd servers by UDP and to statsite by TCP, once in a while."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.config.schema import TelemetryConfig
from agent.late import loaded
from agent.statsd import Lines, packets

if TYPE_CHECKING:
    from prometheus_client.core import Metric

log = logging.getLogger("lictor.agent.metrics")

#: As Consul's agents do.
INTERVAL_S = 10.0
#: A receiver that does not take them in this time gets the next ones.
STREAM_TIMEOUT_S = 5.0


@dataclass(slots=True)
class PushStats:
    """Counters since start."""

    packets: int = 0
    failures: int = 0


class MetricsPush:
    """The receivers of the configuration."""

    def __init__(self, config: TelemetryConfig, collect: Callable[[], Iterable[Metric]]) -> None:
        host = "" if config.disable_hostname else socket.gethostname()
        self._collect = collect
        self._stats = PushStats()
        self._receivers: list[tuple[str, Lines, bool]] = []
        if config.statsd_address:
            self._receivers.append((config.statsd_address, Lines(host=host), False))
        if config.statsite_address:
            self._receivers.append((config.statsite_address, Lines(host=host), True))
        if config.dogstatsd_addr:
            tags = config.dogstatsd_tags
            self._receivers.append((config.dogstatsd_addr, Lines(tags=tags, dog=True), False))
        self._failed: set[str] = set()

    @property
    def wanted(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._receivers)

    def stats(self) -> PushStats:
        """Counters up to now."""
        return self._stats

    async def run(self, *, interval_s: float = INTERVAL_S) -> None:
        """Tell all of them, until cancelled."""
        await loaded("agent.exposition")
        while True:
            await asyncio.sleep(interval_s)
            for address, lines, stream in self._receivers:
                await self._tell(address, lines, stream=stream)

    async def _tell(self, address: str, lines: Lines, *, stream: bool) -> None:
        """Connected anew each time: names may lead elsewhere by now."""
        host, _, port = address.rpartition(":")
        try:
            send = self._by_tcp if stream else self._by_udp
            await send(host.strip("[]"), int(port), lines)
        except (OSError, TimeoutError) as error:
            self._stats.failures += 1
            if address not in self._failed:
                log.warning("metrics cannot be sent address=%s error=%s", address, error)
                self._failed.add(address)
        else:
            self._failed.discard(address)

    async def _by_udp(self, host: str, port: int, lines: Lines) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=(host, port)
        )
        try:
            for packet in packets(lines.next(self._collect())):
                transport.sendto(packet)
                self._stats.packets += 1
        finally:
            transport.close()

    async def _by_tcp(self, host: str, port: int, lines: Lines) -> None:
        async with asyncio.timeout(STREAM_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
            try:
                for packet in packets(lines.next(self._collect())):
                    writer.write(packet + b"\n")
                    await writer.drain()
                    self._stats.packets += 1
            finally:
                writer.close()
