"""How many requests a second: of all together, of one token, of one client. Pure.

Consul's `limits.request_limits` bounds all requests of a server together; the bounds of one token
and one client are ours. A request is counted where it comes in. What concerns this agent alone
counts for its token and its client only.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.rates import Bucket, Buckets

#: The longest that a client is told to wait, in seconds.
RETRY_MAX_S = 60
#: The bounds of all requests together.
_ALL = frozenset({"read", "write", "rpc"})
#: A refusal of one kind is logged once in so many seconds.
LOG_PAUSE_S = 10.0


class Mode(enum.Enum):
    """What is done about too many requests; the value is the word in the configuration."""

    DISABLED = "disabled"
    #: They are counted and logged, and carried out all the same.
    PERMISSIVE = "permissive"
    ENFORCING = "enforcing"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Requests a second; negative: without bound. A second's worth may come at once."""

    mode: str = Mode.DISABLED.value
    read_rate: float = -1.0
    write_rate: float = -1.0
    token_read_rate: float = -1.0
    token_write_rate: float = -1.0
    client_read_rate: float = -1.0
    client_write_rate: float = -1.0
    #: What a client agent asks of servers, whatever the mode (Consul's `limits.rpc_rate`).
    rpc_rate: float = -1.0
    rpc_burst: int = 1000
    #: Tokens, and clients, with a rate of their own that are remembered.
    names_max: int = 4096

    @property
    def rates(self) -> Mapping[str, float]:
        """The rate of each kind of bound."""
        return {
            "read": self.read_rate,
            "write": self.write_rate,
            "token read": self.token_read_rate,
            "token write": self.token_write_rate,
            "client read": self.client_read_rate,
            "client write": self.client_write_rate,
            "rpc": self.rpc_rate,
        }


@dataclass(frozen=True, slots=True)
class TooMany:
    """A request over a bound. ``kind`` is the bound's, ``retry_s`` when to come back."""

    kind: str
    retry_s: int
    #: Whether it is refused, or only counted.
    refused: bool
    #: Whether it is to be logged: not each one is.
    news: bool


@dataclass(slots=True)
class QuotaStats:
    """Requests over a bound, by its kind: those refused, and those let pass all the same."""

    refused: Counter[str] = field(default_factory=Counter)
    let_pass: Counter[str] = field(default_factory=Counter)
    #: Tokens and clients with a bucket.
    buckets_held: int = 0


class Quotas:
    """Says of each request whether it is within its bounds."""

    def __init__(self, limits: RequestLimits) -> None:
        self._stats = QuotaStats()
        for kind in limits.rates:
            self._stats.refused[kind] = self._stats.let_pass[kind] = 0
        self._logged: dict[str, float] = {}
        self.change(limits)

    def change(self, limits: RequestLimits) -> None:
        """Take over other bounds; what was used up under the old ones is forgotten."""
        self.limits = limits
        self._mode = Mode(limits.mode)
        bounded = {kind: rate for kind, rate in limits.rates.items() if rate >= 0.0}
        self._one = {
            kind: (rate, limits.rpc_burst if kind == "rpc" else _burst(rate))
            for kind, rate in bounded.items()
            if kind in _ALL and (kind == "rpc" or self._mode is not Mode.DISABLED)
        }
        self._all: dict[str, Bucket] = {}
        self._named = {
            kind: Buckets(rate, _burst(rate), limits.names_max)
            for kind, rate in bounded.items()
            if kind not in _ALL and self._mode is not Mode.DISABLED
        }
        #: Whether there is anything to ask: most agents have no bounds.
        self.active = bool(self._one or self._named)

    def ask(
        self, *, write: bool, token: str, client: str, now: float, local: bool = False
    ) -> TooMany | None:
        """Count a request; None when it is within all bounds. ``now``: seconds, monotonic.

        ``token`` is the secret as it came ("": none), ``client`` an address without its port.
        ``local``: the request concerns this agent alone.
        """
        if not self.active:
            return None
        word = "write" if write else "read"
        buckets = self._of_names(word, token, client, now)
        if not local:
            buckets += self._of_all(word, now)
        for kind, bucket in buckets:
            wait_s = bucket.wait_s(now)
            if wait_s > 0.0:
                return self._over(kind, wait_s, now)
        for _, bucket in buckets:
            bucket.take()
        return None

    def stats(self) -> QuotaStats:
        """The figures as they stand."""
        self._stats.buckets_held = sum(map(len, self._named.values()))
        return self._stats

    def _of_names(self, word: str, token: str, client: str, now: float) -> list[tuple[str, Bucket]]:
        found = []
        for who, name in (("client", client), ("token", token)):
            named = self._named.get(f"{who} {word}")
            if named is not None and name:
                found.append((f"{who} {word}", named.of(name, now)))
        return found

    def _of_all(self, word: str, now: float) -> list[tuple[str, Bucket]]:
        found = []
        for kind in (word, "rpc"):
            if kind in self._one:
                bucket = self._all.get(kind)
                if bucket is None:
                    rate, burst = self._one[kind]
                    bucket = self._all[kind] = Bucket(rate, burst, now)
                found.append((kind, bucket))
        return found

    def _over(self, kind: str, wait_s: float, now: float) -> TooMany:
        refused = kind == "rpc" or self._mode is Mode.ENFORCING
        (self._stats.refused if refused else self._stats.let_pass)[kind] += 1
        last = self._logged.get(kind)
        news = last is None or now - last >= LOG_PAUSE_S
        if news:
            self._logged[kind] = now
        retry_s = RETRY_MAX_S if wait_s > RETRY_MAX_S else max(1, math.ceil(wait_s))
        return TooMany(kind, retry_s, refused, news)


def _burst(rate: float) -> float:
    return rate if rate == 0.0 else max(1.0, rate)
