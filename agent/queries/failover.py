"""Where else a prepared query looks when its own datacenter has no instance: which datacenters, in
which order, and whose answer counts (http-api contract 14). Pure."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from typing import Any

from agent.queries.definition import Failover
from agent.queries.elsewhere import Datacenters, Elsewhere, Question
from agent.queries.execution import (
    Candidates,
    Executed,
    Request,
    arrangement,
    candidates,
    meeting,
)
from raftstore.queries import HealthEntry, HealthService
from raftstore.records import ServiceName

#: Datacenters that are tried for one request.
TRIES_MAX = 16

#: Steps that may lead elsewhere.
WideSteps = Generator[Question, Any, Executed]


def execution(request: Request, rng: random.Random) -> WideSteps:
    """Carry out a query, here or elsewhere. Raises QueryNotFound, QueryRefused."""
    found = yield from candidates(request)
    if found.nodes or not looks_elsewhere(found.query.service.failover):
        return (yield from arrangement(found, request, rng))
    return (yield from elsewhere(found, request, rng))


def looks_elsewhere(failover: Failover) -> bool:
    """Whether a query names any other place."""
    return bool(failover.targets or failover.datacenters) or failover.nearest_n > 0


def wanted(failover: Failover, home: str, known: Sequence[str]) -> list[str]:
    """The datacenters to try. ``known`` is sorted by distance; what is not in it is left out, as
    is ``home``, the one that has been looked at."""
    others = [name for name in known if name.lower() != home.lower()]
    if failover.targets:
        named = [target.datacenter for target in failover.targets]
        first: list[str] = []
    else:
        named = list(failover.datacenters or ())
        first = others[: max(0, failover.nearest_n)]
    by_name = {name.lower(): name for name in others}
    listed = [by_name[name.lower()] for name in named if name.lower() in by_name]
    return list(dict.fromkeys([*first, *listed]))[:TRIES_MAX]


def elsewhere(found: Candidates, request: Request, rng: random.Random) -> WideSteps:
    """The first of them that has instances; nobody's where none has. Their order is drawn: from
    here all are about as far."""
    service = found.query.service
    tried, answered = 0, ""
    asked = HealthService(
        service=ServiceName(service.service), connect=service.connect or request.connect
    )
    known = yield Datacenters()
    for datacenter in wanted(service.failover, request.datacenter, known):
        tried += 1
        entries = yield Elsewhere(datacenter, asked, lenient=True)
        if entries is None:
            continue
        answered = datacenter
        nodes = list(meeting(service, entries))
        if nodes:
            nodes = rng.sample(nodes, len(nodes))
            nodes = nodes[: request.limit] if request.limit > 0 else nodes
            return _executed(found, tuple(nodes), answered, tried)
    return _executed(found, (), answered, tried)


def _executed(
    found: Candidates, nodes: tuple[HealthEntry, ...], datacenter: str, tried: int
) -> Executed:
    return Executed(
        record=found.record,
        query=found.query,
        nodes=nodes,
        ordered=False,
        datacenter=datacenter,
        failovers=tried,
    )
