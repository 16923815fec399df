"""What a proxy is told about telling: from the settings of its registration. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.telemetry import access_log
from proxy.telemetry.access_log import OFF, AccessLogs

SAMPLE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """``sample``: the share of new traces that are recorded; ``otlp_url``: where they go, "" for
    nowhere; ``per_endpoint``: whether metrics name hosts."""

    access_logs: AccessLogs = OFF
    sample: float = SAMPLE
    otlp_url: str = ""
    per_endpoint: bool = False


QUIET = Telemetry()


def read(config: Mapping[str, Any]) -> Telemetry:
    """Of a proxy's ``Config``; what cannot be read is as if it were not there."""
    given = config.get("access_logs")
    sample = config.get("lictor_tracing_sample", SAMPLE)
    if isinstance(sample, bool) or not isinstance(sample, int | float) or not 0 <= sample <= 1:
        sample = SAMPLE
    url = config.get("lictor_tracing_otlp_url")
    return Telemetry(
        access_logs=access_log.read(given if isinstance(given, Mapping) else None),
        sample=float(sample),
        otlp_url=url if isinstance(url, str) and url.startswith(("http://", "https://")) else "",
        per_endpoint=config.get("lictor_metrics_per_endpoint") is True,
    )
