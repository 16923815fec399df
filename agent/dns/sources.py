"""What answers are made of: this state, others' rights to see it, and other datacenters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from agent.backend import Ask
from agent.backend import Reply as Answered
from agent.queries import NOWHERE, Datacenters, Elsewhere, Question
from raftstore.dns_queries import HealthSample
from raftstore.queries import Query

T = TypeVar("T")

#: What is known for one answer.
Known = dict[Question, Any]


class Catalog(Protocol):
    """Where answers come from: the part of a backend that reads."""

    async def ask(self, query: Query[T], options: Ask = ...) -> Answered[T]: ...
    def peek(self, query: Query[T]) -> Answered[T] | None: ...
    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None: ...


class Rights(Protocol):
    """What may be seen by those who ask here (agent/acl/seen.py)."""

    def generation(self) -> int: ...
    def watch_rights(self, changed: Callable[[], None]) -> Callable[[], None] | None: ...
    def on_token(self, changed: Callable[[], None]) -> None: ...


#: Asks another datacenter; raises AgentError, StoreError.
AskElsewhere = Callable[[Elsewhere | Datacenters, Ask], Awaitable[Any]]


def watched(facts: Iterable[Question]) -> tuple[Query[Any], ...]:
    """The queries that change with these, alike for all that was drawn; () if one of them is not
    of this state."""
    found: dict[Query[Any], None] = {}
    for query in facts:
        if isinstance(query, Elsewhere | Datacenters):
            return ()
        found[query.whole if isinstance(query, HealthSample) else query] = None
    return tuple(found)


def nobody(query: Elsewhere | Datacenters) -> Any:
    """What there is to be known where no other datacenter is."""
    if isinstance(query, Datacenters):
        return ()
    return None if query.lenient else NOWHERE
