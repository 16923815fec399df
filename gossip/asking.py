"""Queries of ours: what is sent, who has answered, and when nobody is waited for any more.

Gossip wire contract, section 5.5. One ack and one answer per member count; what comes twice (over
relays it does), too late, or beyond the bound is dropped. Owned by gossip.queries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from gossip.config import GossipConfig
from gossip.effects import QueryEnded, QueryReplied
from gossip.errors import QueryError
from gossip.stats import GossipStats
from gossip.wire import serf as wire

NS = 1_000_000_000
RELAY_FACTOR_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask of the ring."""

    name: str
    payload: bytes = b""
    nodes: tuple[str, ...] = ()
    """Only these members shall answer; empty asks everybody."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Only members whose tag matches the regular expression, for each of these tags."""
    ack: bool = False
    """Every member that the filters name also acknowledges the query itself."""
    relay_factor: int = 0
    """0..5: so many other members pass each answer on once more, against lost packets."""
    timeout_s: float = 0.0
    """0 takes ``default_timeout_s``."""

    def filters(self) -> tuple[bytes, ...] | None:
        """The filters as they travel."""
        found = [wire.encode_node_filter(self.nodes)] if self.nodes else []
        found += [wire.encode_tag_filter(tag, expr) for tag, expr in sorted(self.tags.items())]
        return tuple(found) or None


def default_timeout_s(config: GossipConfig, alive: int) -> float:
    """How long a query may run: enough for gossip to reach ``alive`` members, and for the way back.

    Reference library: gossip interval times 16, times the decimal magnitude of the ring.
    """
    return config.gossip_interval_s * config.query_timeout_mult * math.ceil(math.log10(alive + 1))


@dataclass(slots=True)
class _Running:
    deadline: float
    wants_acks: bool
    acked: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)


class Asking:
    """The running queries of one member."""

    __slots__ = ("_config", "_running", "_stats")

    def __init__(self, config: GossipConfig, stats: GossipStats) -> None:
        self._config = config
        self._stats = stats
        self._running: dict[tuple[int, int], _Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    @property
    def deadline(self) -> float:
        """When the next one is over."""
        return min((one.deadline for one in self._running.values()), default=math.inf)

    def check(self, question: Question) -> None:
        """Raises QueryError when it cannot be asked."""
        if not 0 <= question.relay_factor <= RELAY_FACTOR_MAX:
            raise QueryError(f"relay factor must be in range: [0, {RELAY_FACTOR_MAX}]")
        if question.timeout_s < 0 or not math.isfinite(question.timeout_s):
            raise QueryError("query timeout must be a number of seconds, not below 0")
        if len(self._running) >= self._config.queries_running_max:
            raise QueryError(f"more than {self._config.queries_running_max} queries are running")

    def open(self, query: wire.Query, now: float) -> None:
        """Wait for the answers to a query that is sent now."""
        self._stats.queries_asked += 1
        self._running[(query.ltime, query.id)] = _Running(
            now + query.timeout_ns / NS, bool(query.flags & wire.QUERY_FLAG_ACK)
        )

    def close(self, ltime: int, query_id: int) -> None:
        """Nobody wants to hear more of it."""
        self._running.pop((ltime, query_id), None)

    def receive(self, response: wire.QueryResponse) -> QueryReplied | None:
        """The news in a response; None when there is none."""
        running = self._running.get((response.ltime, response.id))
        if running is None:
            return None  # too late, or never ours
        is_ack = bool(response.flags & wire.RESPONSE_FLAG_ACK)
        if is_ack and not running.wants_acks:
            return None
        heard = running.acked if is_ack else running.answered
        if response.sender in heard:
            return None
        if len(heard) >= self._config.query_answers_max:
            self._stats.drop("too_many_answers")
            return None
        heard.add(response.sender)
        self._stats.query_answers += not is_ack
        payload = None if is_ack else response.payload or b""
        return QueryReplied(response.ltime, response.id, response.sender, payload)

    def tick(self, now: float) -> list[QueryEnded]:
        """Those whose time is over."""
        over = [key for key, running in self._running.items() if now >= running.deadline]
        for key in over:
            del self._running[key]
        return [QueryEnded(*key) for key in over]
