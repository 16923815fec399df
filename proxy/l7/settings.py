"""What an upstream's configuration says about its requests (contract C.3, D.7 to D.9).

Pure. Consul's keys are read as it writes them; keys that begin with ``lictor_`` are ours and come
from the upstream's Config or, for all upstreams, from that of proxy-defaults. What cannot be read
is left at its default and named in ``problems``: a mistake in one setting must not cut traffic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from proxy.durations import seconds
from proxy.l7.outliers import OutlierConfig

LIMIT = 1024
_PERCENTILE = re.compile(r"p[1-9][0-9]?")
#: Request bodies are copied to a mirror up to this size; longer requests are not mirrored.
MIRROR_BODY_MAX_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one upstream may have under way. 0 is none at all."""

    connections_max: int = LIMIT
    pending_max: int = LIMIT
    requests_max: int = LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedging:
    """When a second request is sent while the first is not answered: after ``after_s``, or after
    a percentile of what answers took (``percentile`` in 0..1)."""

    after_s: float = 0.0
    percentile: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirroring:
    """Copies to another upstream of this proxy, for so many percent, until a time (Unix)."""

    upstream: str
    percent: float
    until_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Delays and answers that are made up, until a time (Unix). With ``header`` only requests that
    carry it; ``value`` "" is any value."""

    delay_s: float = 0.0
    delay_percent: float = 100.0
    abort_status: int = 0
    abort_percent: float = 100.0
    header: str = ""
    value: str = ""
    until_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """Asks hosts itself whether they are well: by a path (HTTP) or by connecting (``path`` "")."""

    path: str = ""
    interval_s: float = 10.0
    timeout_s: float = 1.0
    up: int = 2
    down: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """All that holds for the requests to one upstream."""

    limits: Limits = field(default_factory=Limits)
    outliers: OutlierConfig = field(default_factory=OutlierConfig)
    #: The policy where the resolver names none.
    balancer: str = ""
    per_try_timeout_s: float | None = None
    retry_non_idempotent: bool = False
    hedging: Hedging | None = None
    mirroring: Mirroring | None = None
    faults: Faults | None = None
    probing: Probing | None = None
    slow_start_s: float = 0.0
    failback_delay_s: float = 0.0
    local_hosts_min: int = 0
    #: "", "accept" or "require": whether connections begin with who they come from.
    proxy_protocol: str = ""
    problems: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether a request is only routed, balanced and tried again: nothing is added to it."""
        return self.hedging is None and self.mirroring is None and self.faults is None


class _Reader:
    """Values of one configuration; what is wrong with them is kept."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self.problems: list[str] = []

    def wrong(self, key: str, wanted: str) -> None:
        self.problems.append(f"{key} is not {wanted}")

    def part(self, key: str) -> _Reader | None:
        given = self._config.get(key)
        if given is None:
            return None
        if not isinstance(given, Mapping):
            self.wrong(key, "a map")
            return None
        made = _Reader(given)
        made.problems = self.problems
        return made

    def duration(self, *keys: str, default: float) -> float:
        for key in keys:
            given = self._config.get(key)
            if given is None or given in (0, ""):
                continue
            found = seconds(given, -1.0)
            if 0 < found < 1e9:
                return found
            self.wrong(key, "a duration")
        return default

    def number(
        self, *keys: str, default: float, low: float = 0.0, high: float = 1e9, zero: bool = True
    ) -> float:
        for key in keys:
            given = self._config.get(key)
            if given is None or (given == 0 and not zero):
                continue
            honest = isinstance(given, int | float) and not isinstance(given, bool)
            if honest and low <= given <= high:
                return float(given)
            self.wrong(key, f"a number from {low:g} to {high:g}")
        return default

    def text(self, key: str, *, among: frozenset[str] | None = None) -> str:
        given = self._config.get(key)
        if given is None:
            return ""
        if not isinstance(given, str) or (among is not None and given not in among):
            self.wrong(key, f"one of {', '.join(sorted(among))}" if among else "a text")
            return ""
        return given

    def flag(self, key: str) -> bool:
        given = self._config.get(key)
        if given is None:
            return False
        if not isinstance(given, bool):
            self.wrong(key, "true or false")
        return given is True

    def time(self, key: str, what: str) -> float | None:
        """A point in time as RFC 3339; None, and a problem, without one."""
        given = self._config.get(key)
        try:
            if isinstance(given, str):
                found = datetime.fromisoformat(given)
                if found.tzinfo is not None:
                    return found.timestamp()
        except ValueError:
            pass
        self.problems.append(f"{what} wants an end: {key} as RFC 3339 time")
        return None


def read(config: Mapping[str, Any]) -> UpstreamSettings:
    """The settings of an upstream's configuration. Never raises; see ``problems``."""
    reader = _Reader(config)
    per_try_s = reader.duration("lictor_per_try_timeout", default=0.0)
    made = UpstreamSettings(
        limits=_limits(reader),
        outliers=_outliers(reader),
        balancer=reader.text("lictor_lb"),
        per_try_timeout_s=per_try_s or None,
        retry_non_idempotent=reader.flag("lictor_retry_non_idempotent"),
        hedging=_hedging(config, reader),
        mirroring=_mirroring(reader),
        faults=_faults(reader),
        probing=_probing(reader),
        slow_start_s=reader.duration("lictor_slow_start", default=0.0),
        failback_delay_s=reader.duration("lictor_failback_delay", default=0.0),
        local_hosts_min=int(reader.number("lictor_min_local_hosts", default=0)),
        proxy_protocol=reader.text("lictor_proxy_protocol", among=frozenset({"accept", "require"})),
        problems=tuple(reader.problems),
    )
    return made


def _limits(reader: _Reader) -> Limits:
    part = reader.part("limits")
    if part is None:
        return Limits()
    return Limits(
        connections_max=int(part.number("max_connections", default=LIMIT)),
        pending_max=int(part.number("max_pending_requests", default=LIMIT)),
        requests_max=int(part.number("max_concurrent_requests", default=LIMIT)),
    )


def _outliers(reader: _Reader) -> OutlierConfig:
    part = reader.part("passive_health_check")
    if part is None:
        return OutlierConfig()
    return OutlierConfig(
        max_failures=int(part.number("max_failures", "MaxFailures", default=5, low=1, zero=False)),
        interval_s=part.duration("interval", "Interval", default=10.0),
        base_ejection_s=part.duration("base_ejection_time", "BaseEjectionTime", default=30.0),
        max_ejection_percent=int(
            part.number("max_ejection_percent", "MaxEjectionPercent", default=10, high=100)
        ),
        enforcing_percent=int(
            part.number(
                "enforcing_consecutive_5xx", "EnforcingConsecutive5xx", default=100, high=100
            )
        ),
    )


def _hedging(config: Mapping[str, Any], reader: _Reader) -> Hedging | None:
    given = config.get("lictor_hedge_after")
    if given is None:
        return None
    if isinstance(given, str) and _PERCENTILE.fullmatch(given):
        return Hedging(percentile=int(given[1:]) / 100)
    found = seconds(given, 0.0)
    if found <= 0:
        reader.wrong("lictor_hedge_after", 'a percentile ("p95") or a duration')
        return None
    return Hedging(after_s=found)


def _mirroring(reader: _Reader) -> Mirroring | None:
    part = reader.part("lictor_mirror")
    if part is None:
        return None
    upstream, until_at = part.text("upstream"), part.time("until", "lictor_mirror")
    if not upstream:
        part.problems.append("lictor_mirror wants the name of an upstream")
    if not upstream or until_at is None:
        return None
    percent = part.number("percent", default=100.0, high=100.0)
    return Mirroring(upstream=upstream, percent=percent, until_at=until_at)


def _faults(reader: _Reader) -> Faults | None:
    part = reader.part("lictor_fault")
    if part is None:
        return None
    until_at = part.time("until", "lictor_fault")
    if until_at is None:
        return None
    return Faults(
        delay_s=part.duration("delay", default=0.0),
        delay_percent=part.number("delay_percent", default=100.0, high=100.0),
        abort_status=int(part.number("abort", default=0, low=200, high=599, zero=False)),
        abort_percent=part.number("abort_percent", default=100.0, high=100.0),
        header=part.text("header"),
        value=part.text("value"),
        until_at=until_at,
    )


def _probing(reader: _Reader) -> Probing | None:
    part = reader.part("lictor_active_check")
    if part is None:
        return None
    path = part.text("path")
    if path and (not path.startswith("/") or any(ord(char) <= 0x20 for char in path)):
        part.wrong("path", "a path")
        return None
    return Probing(
        path=path,
        interval_s=part.duration("interval", default=10.0),
        timeout_s=part.duration("timeout", default=1.0),
        up=int(part.number("up", default=2, low=1, high=100)),
        down=int(part.number("down", default=3, low=1, high=100)),
    )
