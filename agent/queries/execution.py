"""How a prepared query is carried out, as a chain of questions to the state.

Decides which query a name leads to, which instances are meant, and in which order they are given
out (http-api contract 14). Each step is a generator that yields what it must know and is sent the
answer's value.
"""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.distance import nearest_first, places
from agent.errors import AgentError
from agent.queries.definition import Definition, ServiceQuery, definition_of
from agent.queries.elsewhere import Question
from agent.queries.template import TemplateError, compile_template
from raftstore.definition_queries import (
    CoordinatesOf,
    FindPreparedQuery,
    GetPreparedQuery,
    ListCoordinates,
)
from raftstore.definitions import Coordinate, PreparedQuery
from raftstore.dns_queries import WhoHasAddress, canonical_address
from raftstore.queries import HealthEntry, HealthService, Query
from raftstore.records import CRITICAL, PASSING, NodeName, ServiceName

T = TypeVar("T")

#: What a step must know -> what it comes to in the end.
Steps = Generator[Query[Any], Any, T]
Q = TypeVar("Q", bound=Question)

#: The agent that is asked; whoever has the address from which the question comes.
AGENT, ADDRESS = "_agent", "_ip"
#: The node that is asked about stands first, if it is among so many.
_FIRST_AMONG = 10
#: For more nodes than this all coordinates are asked for.
NODES_NAMED_MAX = 256

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class QueryNotFound(AgentError):
    """No query has this id or answers for this name."""

    def __init__(self) -> None:
        super().__init__("Query not found")


class QueryRefused(AgentError):
    """There is a query, but it cannot be carried out as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A wish to carry out a query. ``agent`` is the node of the agent that was asked.

    ``near`` is a node, "_agent" or "_ip" (``source_ip`` says which that is); "" leaves it to the
    query. ``limit`` 0 is none. ``datacenter`` is the one whose query it is.
    """

    name: str
    agent: str
    near: str = ""
    limit: int = 0
    connect: bool = False
    segment: str = ""
    source_ip: str = ""
    datacenter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The query as it is for the name that was asked, and the instances that meet it."""

    record: PreparedQuery
    query: Definition
    nodes: tuple[HealthEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """The instances in the order in which they are to be used.

    ``ordered`` says that the order means something. ``failovers`` counts other datacenters that
    were tried; ``datacenter`` is the last of them that answered, "" for the query's own.
    """

    record: PreparedQuery
    query: Definition
    nodes: tuple[HealthEntry, ...]
    ordered: bool
    failovers: int = 0
    datacenter: str = ""


def run(steps: Generator[Q, Any, T], get: Callable[[Q], Any]) -> T:
    """Take all steps with answers that are at hand. What ``get`` raises ends them."""
    try:
        query = next(steps)
        while True:
            query = steps.send(get(query))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


async def run_asking(steps: Generator[Q, Any, T], ask: Callable[[Q], Awaitable[Any]]) -> T:
    """The same where answers take time."""
    try:
        query = next(steps)
        while True:
            query = steps.send(await ask(query))
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def resolution(name: str, *, segment: str = "") -> Steps[tuple[PreparedQuery, Definition]]:
    """The query with this id, or the one that answers for this name, as it is for that name.

    Raises QueryNotFound, QueryRefused.
    """
    record: PreparedQuery | None = None
    if _UUID.fullmatch(name):
        record = yield GetPreparedQuery(name.lower())
        if record is not None and record.template:
            raise QueryRefused(
                "prepared query templates can only be resolved up by name, not by ID"
            )
    if record is None and name:
        record = yield FindPreparedQuery(name)
    if record is None:
        raise QueryNotFound
    query = definition_of(record)
    if not record.template:
        return record, query
    try:
        return record, compile_template(query).render(name, segment=segment)
    except TemplateError as error:
        raise QueryRefused(str(error)) from None


def candidates(request: Request) -> Steps[Candidates]:
    """The instances that meet a query; none of them is left out for its place."""
    record, query = yield from resolution(request.name, segment=request.segment)
    connect = query.service.connect or request.connect
    entries = yield HealthService(
        service=ServiceName(query.service.service),
        connect=connect,
        by_query=request.name if query.token else "",
    )
    return Candidates(record=record, query=query, nodes=tuple(meeting(query.service, entries)))


def arrangement(found: Candidates, request: Request, rng: random.Random) -> Steps[Executed]:
    """The instances in their order, as many as asked for."""
    near = request.near or found.query.service.near
    if near == AGENT:
        near = request.agent
    elif near == ADDRESS:
        near = yield from _node_at(request.source_ip)
    nodes: Sequence[HealthEntry] = rng.sample(found.nodes, len(found.nodes))
    if near and nodes:
        known = yield from _coordinates(found, request, near)
        nodes = nearest_first(nodes, lambda entry: entry.node.name, near, places(known))
        nodes = _self_first(list(nodes), near)
    if request.limit > 0:
        nodes = nodes[: request.limit]
    return Executed(record=found.record, query=found.query, nodes=tuple(nodes), ordered=bool(near))


def _coordinates(found: Candidates, request: Request, near: str) -> Steps[list[Coordinate]]:
    """Where the instances' nodes are, and the one that is asked about."""
    names = {entry.node.name.lower() for entry in found.nodes}
    if len(names) >= NODES_NAMED_MAX:
        return list((yield ListCoordinates()))
    if not found.query.token:
        return list((yield CoordinatesOf(_sorted(names | {near.lower()}))))
    # The query's token counts for what the query finds, and for nothing else.
    known = yield CoordinatesOf(_sorted(names), request.name)
    if near.lower() in names:
        return list(known)
    return [*known, *(yield CoordinatesOf((NodeName(near.lower()),)))]


def _sorted(names: set[str]) -> tuple[NodeName, ...]:
    return tuple(map(NodeName, sorted(names)))


def _node_at(address: str) -> Steps[str]:
    if not address:
        return ""
    holder = yield WhoHasAddress(canonical_address(address))
    return "" if holder.node is None else holder.node.name


def _self_first(nodes: list[HealthEntry], near: str) -> list[HealthEntry]:
    for at, entry in enumerate(nodes[:_FIRST_AMONG]):
        if entry.node.name.lower() == near.lower():
            nodes[0], nodes[at] = nodes[at], nodes[0]
            break
    return nodes


def meeting(service: ServiceQuery, entries: Iterable[HealthEntry]) -> Iterable[HealthEntry]:
    """The instances that are healthy enough and have the tags and the metadata."""
    wish = Wish(service)
    return (entry for entry in entries if not wish.obstacle(entry))


class Wish:
    """What a query wants of an instance."""

    __slots__ = ("_ignored", "_node_meta", "_only_passing", "_service_meta", "_unwanted", "_wanted")

    def __init__(self, service: ServiceQuery) -> None:
        tags = [tag.lower() for tag in service.tags or ()]
        self._ignored = frozenset(service.ignore_check_ids or ())
        self._only_passing = service.only_passing
        self._wanted = {tag for tag in tags if not tag.startswith("!")}
        self._unwanted = {tag[1:] for tag in tags if tag.startswith("!")}
        self._node_meta = service.node_meta or {}
        self._service_meta = service.service_meta or {}

    def obstacle(self, entry: HealthEntry) -> str:
        """What keeps an instance out, "" if nothing does."""
        for check in entry.checks:
            if check.status == PASSING or check.id in self._ignored:
                continue
            if self._only_passing or check.status == CRITICAL:
                return f'check "{check.id}" is {check.status}'
        if self._wanted or self._unwanted:
            given = {tag.lower() for tag in entry.service.tags}
            if missing := sorted(self._wanted - given):
                return f'tag "{missing[0]}" is missing'
            if found := sorted(self._unwanted & given):
                return f'tag "{found[0]}" must not be there'
        for what, wanted, meta in (
            ("node", self._node_meta, entry.node.meta or {}),
            ("service", self._service_meta, entry.service.meta or {}),
        ):
            for key, value in wanted.items():
                if meta.get(key) != value:
                    return f'metadata "{key}" of the {what} is not "{value}"'
        return ""
