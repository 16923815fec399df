"""Where a proxy's entries go, in step with what it is told: log, exporter, labels of metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.source import MeshState
from proxy.telemetry import access_log
from proxy.telemetry.entry import Entry
from proxy.telemetry.log_file import LogFile
from proxy.telemetry.observer import Observer
from proxy.telemetry.otlp import Exporter

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Outlets:
    """The log and the exporter that are in use now."""

    def __init__(self, observer: Observer, spawn: Spawn) -> None:
        self._observer = observer
        self._spawn = spawn
        self._exporting: asyncio.Task[None] | None = None
        self.file: LogFile | None = None
        self.exporter: Exporter | None = None

    def update(self, state: MeshState, before: MeshState) -> None:
        """Work by this state."""
        observer, told = self._observer, state.telemetry
        if state.own is not None:
            observer.metrics.name(state.own.name, state.datacenter, state.own.subset)
        observer.sample, observer.metrics.per_endpoint = told.sample, told.per_endpoint
        if told == before.telemetry:
            return
        sinks: list[Callable[[Entry], None]] = []
        logs = told.access_logs
        if logs != before.telemetry.access_logs:
            self.file = LogFile(logs.kind, logs.path) if logs.kind else None
        if self.file is not None:
            form, write = access_log.formatter(logs), self.file.write
            sinks.append(lambda entry: write(form(entry)))
        if told.otlp_url != before.telemetry.otlp_url:
            self.close()
            if told.otlp_url:
                self.exporter = Exporter(told.otlp_url)
                self._exporting = self._spawn(self.exporter.run(), "proxy traces")
        if self.exporter is not None:
            sinks.append(self.exporter.take)
        observer.sinks = tuple(sinks)

    def counted(self) -> dict[str, float]:
        """What has become of spans, since the exporter began."""
        exporter = self.exporter
        return {
            "spans_sent": exporter.sent if exporter else 0,
            "spans_dropped": exporter.dropped if exporter else 0,
            "spans_failed": exporter.failed if exporter else 0,
        }

    def close(self) -> None:
        """Export no more."""
        if self._exporting is not None:
            self._exporting.cancel()
        self.exporter, self._exporting = None, None
