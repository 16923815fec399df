"""What can be explained, and who explains it: the WHAT of `/v1/explain/WHAT`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from agent.backend import Backend
from agent.config.schema import AgentConfig
from agent.dns.rules import DnsView
from agent.errors import RequestError
from agent.explain.certificate import certificate_explainer
from agent.explain.intention import default_of, intention_explainer
from agent.explain.intention_plan import Live, Paced, intention_planner
from agent.explain.keyring import KeyedPool, explain_keyring
from agent.explain.member import GossipView, LeaderView, explain_member
from agent.explain.query import query_explainer
from agent.explain.restore import restore_explainer
from agent.explain.service import service_explainer
from agent.explain.session import AsksClock, explain_session
from agent.late import loaded
from raftstore.queries import HealthEntry
from raftstore.records import CheckId, Json

#: Says which instances an expression keeps. Raises RequestError.
MakeFilter = Callable[[str], Callable[[HealthEntry], bool]]
#: Answers with data; gets the path's further parts and the query string.
Explainer = Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]


def explainers(
    backend: Backend,
    config: AgentConfig,
    *,
    gossip: GossipView,
    datacenters: Callable[[], Json],
    leader: LeaderView,
    check: Callable[[CheckId], Json],
    dns: Callable[[], DnsView],
    sidecars: Callable[[], Json],
    feeds: Callable[[], Json],
    loop: Callable[[], Json],
    raft: Callable[[], Json],
    server_port: Callable[[], Json],
    session_clock: AsksClock,
    wall: Callable[[], float],
    events: Callable[[], Json],
    coordinates: Callable[[], Json],
    keyring: KeyedPool,
    watches: Callable[[], Json],
    ring: Callable[[], Awaitable[Json]],
    process: Callable[[], Awaitable[Json]],
    configuration: Callable[[], Awaitable[Json]],
    limits: Callable[[], Json],
    logins: Callable[[], Json],
    paced: Paced,
    live: Live,
    make_filter: MakeFilter,
) -> dict[str, Explainer]:
    """Everything this agent can explain."""

    async def one_question(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        await loaded("agent.explain.dns")
        from agent.explain.dns import explain_dns, wish_of

        return await explain_dns(backend, dns(), wish_of(arguments, query))

    intention = _intention(backend, config, wall)

    return {
        "certificate": certificate_explainer(backend, config.datacenter),
        "check": _check(check),
        "configuration": _awaited(configuration),
        "coordinates": _plain(coordinates),
        "datacenters": _plain(datacenters),
        "dns": one_question,
        "events": _plain(events),
        "feeds": _plain(feeds),
        "intention": intention,
        "intention-plan": intention_planner(backend, paced, live, **default_of(config)),
        "intention-learn": _learner(backend, live, config),
        "keyring": _awaited(lambda: explain_keyring(config, keyring)),
        "limits": _plain(limits),
        "login": _plain(logins),
        "loop": _plain(loop),
        "member": _member(gossip, leader),
        "process": _awaited(process),
        "query": query_explainer(backend),
        "raft": _plain(raft),
        "restore": restore_explainer(backend),
        "ring": _awaited(ring),
        "route": _router(backend, intention, config, make_filter),
        "server-port": _plain(server_port),
        "service": service_explainer(backend, only_passing=config.dns.only_passing),
        "session": _session(backend, session_clock),
        "sidecars": _plain(sidecars),
        "watches": _plain(watches),
    }


def _learner(backend: Backend, live: Live, config: AgentConfig) -> Explainer:
    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        await loaded("agent.explain.learned")
        from agent.explain.learned import learner

        return await learner(backend, live, **default_of(config))(arguments, query)

    return explain


def _intention(backend: Backend, config: AgentConfig, wall: Callable[[], float]) -> Explainer:
    explainer = intention_explainer(backend, wall=wall, **default_of(config))
    return _after("agent.explain.tokens", explainer)


def _member(gossip: GossipView, leader: LeaderView) -> Explainer:
    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        return explain_member(gossip, leader, arguments)

    return explain


def _router(
    backend: Backend, intention: Explainer, config: AgentConfig, make_filter: MakeFilter
) -> Explainer:
    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        await loaded("agent.explain.route")
        from agent.explain.route import route_explainer

        explainer = route_explainer(backend, intention, config.datacenter, make_filter)
        return await explainer(arguments, query)

    return explain


def _after(module: str, explainer: Explainer) -> Explainer:
    """The same, once a module is there that it will want."""

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        await loaded(module)
        return await explainer(arguments, query)

    return explain


def _check(check: Callable[[CheckId], Json]) -> Explainer:
    """A check by its id, which may hold slashes."""

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        if not arguments:
            raise RequestError(400, "explain check wants the id of a check of this agent")
        return check(CheckId("/".join(arguments)))

    return explain


def _session(backend: Backend, clock: AsksClock) -> Explainer:
    """A session by its id."""

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        return await explain_session(backend, clock, arguments)

    return explain


def _plain(view: Callable[[], Json]) -> Explainer:
    """What there is only one of."""

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        return view()

    return explain


def _awaited(view: Callable[[], Awaitable[Json]]) -> Explainer:
    """The same for what has to ask around first."""

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        return await view()

    return explain
