"""One request on its way through a handler: what was asked, and the questions all handlers share.

Decides how a read reaches the backend and which headers tell of the answer; handlers decide what is
asked and how it looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol, TypeVar

from agent import backend
from agent.acl.access import Access
from agent.acl.caller import EVERYBODY, Need
from agent.acl.rules import Level
from agent.backend import Ask, Consistency
from agent.backend.archives import Archives
from agent.backend.cache import AnswerCache, Cached
from agent.errors import RequestError
from agent.http import params as query_params
from agent.http.context import HttpContext
from agent.http.params import Params
from agent.http.ready import ReadyAnswers
from agent.http.reply import (
    JSON_TYPE,
    LONG_ITEMS,
    TEXT_TYPE,
    Reply,
    json_bytes,
    json_object_parts,
    json_parts,
)
from agent.http.waiting import Waiting
from raftstore.commands import Command, Outcome, Rejected
from raftstore.queries import HealthService, ListServices, Query, ServiceNodes
from raftstore.records import Actor, Json
from raftstore.thawed import maker_of

T = TypeVar("T")

#: Questions whose answers may come from the cache (those marked so in the http-api contract).
CACHED: frozenset[type[Query[Any]]] = frozenset({ListServices, ServiceNodes, HealthService})

_FILTERED = "X-Consul-Results-Filtered-By-Acls: true"
#: Reads that `discovery_max_stale` is about.
_DISCOVERY = ("/v1/catalog/", "/v1/health/")

_QUERY_BACKEND = "X-Consul-Query-Backend: blocking-query"
_KNOWN_LEADER = {True: "X-Consul-Knownleader: true", False: "X-Consul-Knownleader: false"}
_EFFECTIVE = {mode: f"X-Consul-Effective-Consistency: {mode.value}" for mode in Consistency}
#: What a failed read says of itself on endpoints that announce their index in any case.
FAILED_READ = (
    "X-Consul-Index: 1",
    _KNOWN_LEADER[False],
    "X-Consul-Lastcontact: 0",
    _QUERY_BACKEND,
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What all calls of one server share."""

    context: HttpContext
    waiting: Waiting
    ready: ReadyAnswers
    #: Answers a read that is part of another request: (that call, the read's target).
    inner: Callable[[Call, str], Awaitable[Reply]]
    access: Access
    api_headers: tuple[str, ...]


class Asked(Protocol):
    """What a call needs of the request it stands for."""

    @property
    def headers(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Read:
    """A request that is one question; ``shape`` makes the reply of the answer."""

    query: Query[Any]
    options: Ask
    shape: Callable[[backend.Reply[Any]], Reply]


@dataclass(frozen=True, slots=True)
class Change:
    """A request that is one command; ``shape`` makes the reply of the outcome's value.

    A refusal is a 500 with ``refused_prefix`` and the state's reason. ``true_for`` is the value
    whose reply is ``true`` and no more, as most writes answer, if there is one.
    """

    command: Command
    shape: Callable[[Any], Reply]
    refused_prefix: str = ""
    true_for: Any = ...

    def reply(self, outcome: Outcome) -> Reply:
        """The reply to an outcome. Raises RequestError for a refusal."""
        if isinstance(outcome, Rejected):
            raise RequestError(500, self.refused_prefix + outcome.reason)
        return self.shape(outcome.value)


#: One of each is made for every write.
_make_change = maker_of(Change)
_make_actor = maker_of(Actor)


class Call:
    """One request. ``path`` is its route's, ``rest`` what follows a prefix route, percent-decoded
    once.

    ``failure_headers`` go out with an error; a handler sets them once it has begun to read.
    ``address`` is where the request comes from, as "ip:port". ``caller`` is who asks, ``consulted``
    whether anybody has looked at what that one may do.
    """

    __slots__ = ("_cached", "_desk", "access", "address", "archives", "body", "caller",
                 "consulted", "context", "failure_headers", "method", "params", "path", "quiet",
                 "refusal", "relayed", "request", "rest", "secret", "stream",
                 "waiting")  # fmt: skip

    def __init__(
        self, desk: Desk, request: Asked, method: str, path: str, rest: str, params: Params
    ) -> None:
        self._desk = desk
        self.context = desk.context
        self.access = desk.access
        self.caller = EVERYBODY
        #: Another datacenter's snapshots, where those are asked for.
        self.archives: Archives | None = None
        self.consulted = False
        #: The secret of the token that is shown, "" for none.
        self.secret = ""
        self.waiting = desk.waiting
        self.request = request
        self.method = method
        self.path = path
        self.rest = rest
        self.params = params
        self.body = b""
        #: The body of an endpoint that reads it by itself.
        self.stream: AsyncIterator[bytes] | None = None
        self.failure_headers: tuple[str, ...] = ()
        #: Why a permission was missing, for the audit log.
        self.refusal = ""
        self.address = ""
        #: Neither parameters nor headers say anything about how to answer.
        self.quiet = False
        #: Whether another datacenter has sent it: then it goes no further.
        self.relayed = False
        self._cached: Cached[Any] | None = None

    @property
    def actor(self) -> Actor:
        """On whose behalf this request is."""
        return _make_actor(self.caller.accessor, self.address, self.context.config.node_name)

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers; names without regard to case."""
        return self.request.headers

    @property
    def pretty(self) -> bool:
        """Whether JSON is to be indented."""
        return "pretty" in self.params or self.context.config.dev_mode

    # -- asking ----------------------------------------------------------------------------------

    def check_datacenter(self) -> None:
        """Refuse another datacenter than ours: no path leads there."""
        wanted = self.params.get("dc")
        if wanted and wanted.lower() != self.context.config.datacenter.lower():
            raise RequestError(500, "No path to datacenter")

    def options(self) -> Ask:
        """How this read wants to be asked. Raises RequestError for bad parameters."""
        config = self.context.config
        return query_params.ask_options(
            self.params,
            self.request.headers.get("Cache-Control", ""),
            default_s=config.default_query_time_s,
            max_s=config.max_query_time_s,
            rng=self.context.rng,
            stale_s=config.discovery_max_stale_s if self.path.startswith(_DISCOVERY) else 0.0,
        )

    def read(self, query: Query[Any], options: Ask, shape: Callable[..., Reply]) -> Read:
        """This request as one question."""
        if "dc" in self.params:
            self.check_datacenter()
        return Read(query, options, shape)

    def change_of(
        self, command: Command, shape: Callable[[Any], Reply], refused_prefix: str = ""
    ) -> Change:
        """This request as one command."""
        if "dc" in self.params:
            self.check_datacenter()
        return _make_change(command, shape, refused_prefix, ...)

    def quiet_change(
        self,
        command: Command,
        shape: Callable[[Any], Reply],
        refused_prefix: str = "",
        *,
        true_for: Any,
    ) -> Change:
        """The same of a quiet request; ``shape`` gives ``true`` for one value."""
        if self.context.config.dev_mode:  # indents
            true_for = ...
        return _make_change(command, shape, refused_prefix, true_for)

    async def carry_out(self, plan: Read | Change) -> Reply:
        """Ask the question or carry out the command, and make the reply."""
        if isinstance(plan, Read):
            return plan.shape(await self.ask(plan.query, plan.options))
        return plan.reply(await self.propose(plan.command))

    async def ask(self, query: Query[T], options: Ask | None = None) -> backend.Reply[T]:
        """Ask the state, blocking if the request wants it."""
        if options is None:
            options = self.options()
        if "dc" in self.params:
            self.check_datacenter()
        self.consulted = True
        if not options.min_index:
            return await self._ask(query, options)
        with self.waiting.place():
            try:
                return await self._ask(query, options)
            except asyncio.CancelledError:
                self.waiting.raise_if_stopping()
                raise

    async def inner(self, target: str) -> Reply:
        """The answer to a read on behalf of the same client; refusals are replies too."""
        return await self._desk.inner(self, target)

    async def _ask(self, query: Query[T], options: Ask) -> backend.Reply[T]:
        cache, access = self.context.cache, self.access
        if cache is None or "cached" not in self.params or type(query) not in CACHED:
            return await access.ask(self.caller, query, options)
        if options.at is not None or (access.enabled and not access.guards_state):
            # Elsewhere a server filters what it answers: for one caller, not for all.
            return await access.ask(self.caller, query, options)
        return await access.told(self.caller, query, await self._kept(cache, query, options))

    async def ask_kept(self, query: Query[T]) -> backend.Reply[T]:
        """Ask what everybody may know. An agent without a state answers from what it keeps."""
        cache, options = self.context.cache, self.options()
        if cache is None or self.access.guards_state:
            return await self.ask(query, options)
        self.consulted = True
        if "dc" in self.params:
            self.check_datacenter()
        if not options.min_index:
            return await self._kept(cache, query, options)
        with self.waiting.place():
            try:
                return await self._kept(cache, query, options)
            except asyncio.CancelledError:
                self.waiting.raise_if_stopping()
                raise

    async def _kept(self, cache: AnswerCache, query: Query[T], options: Ask) -> backend.Reply[T]:
        header = self.request.headers.get("Cache-Control", "")
        found = await cache.get(query, options, query_params.freshness(header))
        self._cached = found
        return found.reply

    async def change(self, command: Command, *, refused_prefix: str = "") -> Any:
        """Carry out a command and give its value; a refusal is a 500 with the state's reason."""
        if "dc" in self.params:
            self.check_datacenter()
        outcome = await self.propose(command)
        if isinstance(outcome, Rejected):
            raise RequestError(500, refused_prefix + outcome.reason)
        return outcome.value

    async def propose(self, command: Command) -> Outcome:
        """Carry out a command on the caller's behalf; a refusal of the state is an answer."""
        self.consulted = True
        return await self.access.change(self.caller, command, actor=self.actor)

    # -- permissions of what is not in the state --------------------------------------------------

    def require(self, *needs: Need) -> None:
        """Pass if the caller has one of these permissions. Raises Denied."""
        self.consulted = True
        self.access.require(self.caller, *needs)

    def may(self, resource: str, verb: Level, name: str = "") -> bool:
        """Whether the caller has a permission: for lists, which leave out what may not be seen."""
        self.consulted = True
        return self.access.dry_run or self.caller.authorizer.allows(resource, verb, name)

    # -- answering -------------------------------------------------------------------------------

    def json(self, value: Json, *, status: int = 200, headers: tuple[str, ...] = ()) -> Reply:
        """A JSON reply."""
        return Reply(json_bytes(value, pretty=self.pretty), JSON_TYPE, status, headers)

    def listing(
        self,
        values: Sequence[T],
        show: Callable[[T], Json],
        *,
        keep: Callable[[T], bool] | None = None,
        filtered: Callable[[Any], bool] | None = None,
        headers: tuple[str, ...] = (),
        within: tuple[dict[str, Json], str] | None = None,
    ) -> Reply:
        """A JSON array with what ``show`` makes of each value that ``keep`` keeps.

        ``filtered`` is asked about what is shown. ``within`` is the object that the array stands
        in at the end, and its name. A long one is made in slices, after this call.
        """
        shown = (show(value) for value in values if keep is None or keep(value))
        items = shown if filtered is None else (item for item in shown if filtered(item))
        if within is not None and (self.pretty or len(values) <= LONG_ITEMS):
            head, name = within
            return self.json(head | {name: list(items)}, headers=headers)
        if len(values) <= LONG_ITEMS:
            return self.json(list(items), headers=headers)
        parts = json_parts(items, pretty=self.pretty)
        if within is not None:
            head, name = within
            others = {key: value for key, value in head.items() if key != name}
            opening = json_bytes(others | {name: None}).removesuffix(b"null}")
            parts = chain((opening,), parts, (b"}",))
        return Reply(b"", JSON_TYPE, 200, headers, parts)

    def mapping(
        self,
        values: Mapping[Any, T],
        show: Callable[[T], Json],
        *,
        keep: Callable[[T], bool] | None = None,
        filtered: Callable[[Any], bool] | None = None,
        headers: tuple[str, ...] = (),
    ) -> Reply:
        """The same for an object; ``values`` must not change any more."""
        items = (
            (name, show(value)) for name, value in values.items() if keep is None or keep(value)
        )
        if filtered is not None:
            items = (item for item in items if filtered(item[1]))
        if len(values) <= LONG_ITEMS:
            return self.json(dict(items), headers=headers)
        parts = json_object_parts(items, pretty=self.pretty)
        return Reply(b"", JSON_TYPE, 200, headers, parts)

    def truth(self, value: Any) -> Reply:
        """The JSON of a value's truth: what most writes answer."""
        return self.json(bool(value))

    def answer(self, value: Json, reply: backend.Reply[Any], *, effective: bool = True) -> Reply:
        """A JSON reply with the headers that tell of a read."""
        return self.json(value, headers=self.read_headers(reply, effective=effective))

    def ready_bytes(
        self, question: Hashable, reply: backend.Reply[Any], make: Callable[[], Json]
    ) -> bytes:
        """The JSON text of an answer, from the ready ones if it is the same as before."""
        pretty = self.pretty
        # What nothing was taken from is the same for all.
        same = self.access.guards_state and reply.whole
        return self._desk.ready.get(
            (question, pretty, None if same else self.caller.authorizer),
            reply.index,
            lambda: json_bytes(make(), pretty=pretty),
        )

    def bytes_answer(self, body: bytes, reply: backend.Reply[Any]) -> Reply:
        """A reply of ready JSON with the headers that tell of a read."""
        return Reply(body, JSON_TYPE, 200, self.listing_headers(reply))

    def listing_headers(self, reply: backend.Reply[Any]) -> tuple[str, ...]:
        """``read_headers``, and what is said where a cached answer was asked for."""
        headers = self.read_headers(reply)
        return headers + self.cache_headers() if "cached" in self.params else headers

    def read_headers(self, reply: backend.Reply[Any], *, effective: bool = True) -> tuple[str, ...]:
        """Index, leader and age of an answer; ``effective`` adds the consistency it had."""
        lines: tuple[str, ...] = (
            f"X-Consul-Index: {reply.index or 1}",
            _KNOWN_LEADER[reply.known_leader],
            f"X-Consul-Lastcontact: {int(reply.last_contact_s * 1000)}",
            _QUERY_BACKEND,
        )
        if reply.filtered:
            lines += (_FILTERED,)
        return (*lines, _EFFECTIVE[reply.consistency]) if effective else lines

    def cache_headers(self) -> tuple[str, ...]:
        """`X-Cache` where the client asked for a cached answer."""
        return self.kept_headers() if "cached" in self.params else ()

    def kept_headers(self) -> tuple[str, ...]:
        """Whether an answer was kept here, and for how long it may not be so any more."""
        if self._cached is None or not self._cached.hit:
            return ("X-Cache: MISS",)
        return ("X-Cache: HIT", f"Age: {int(self._cached.age_s)}")


def text(body: str, *, status: int = 200, headers: tuple[str, ...] = ()) -> Reply:
    """A plain text reply."""
    return Reply(body.encode("utf-8", "replace"), TEXT_TYPE, status, headers)


def done() -> Reply:
    """200 with an empty body: what agent writes answer."""
    return Reply()
