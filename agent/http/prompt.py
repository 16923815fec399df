"""The short way of the usual requests: one read or one change, answered without a task.

A route whose endpoint has a plan says what it asks of the state and how the reply is made; the long
way (server.py) and this one carry out the same plan, so they cannot differ in more than how they
get there. Reads are kept by their bytes: as long as the index of a read has not moved its reply is
the one before, with the date and the age of the answer put in. Whatever does not go smoothly before
the backend was asked (bad parameters, no such route, a body over its limit) is left to the long
way, which has the words for it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from agent.acl.caller import EVERYBODY, Caller
from agent.acl.guard import all_met
from agent.backend import Consistency, Prompt, PromptChanges, PromptQuestions
from agent.backend import Reply as Told
from agent.backend.acting import ACTING, on_behalf
from agent.errors import RequestError
from agent.http.call import Call, Change, Desk, Read
from agent.http.gate import NO_HEADERS, Gate, token_of
from agent.http.held import HeldRead, taken_apart, without_wait
from agent.http.kept import KeptRead, KeptReads, Planned, make_planned
from agent.http.lane import Head, Seen, target_token
from agent.http.params import (
    EMPTY,
    Params,
    jittered,
    parse_query,
    refuse_enterprise,
    wait,
)
from agent.http.paths import BadTarget, plain_path, read_target
from agent.http.reply import (
    COMPRESS_INLINE_MAX_BYTES,
    GZIP_MIN_BYTES,
    Reply,
    gzipped,
    second,
)
from agent.http.routes import Endpoint, Route, Router
from agent.http.routes.table import Body
from agent.http.tokens import OPEN, route_need
from raftstore.commands import Applied, Outcome
from raftstore.errors import StoreError

#: Replies with a larger body are made each time, by the long way.
BODY_MAX_BYTES = 256 * 1024


class Asker(Protocol):
    """Where the answer goes; None sends the request the long way, or another one ``instead``.

    While a request is held, ``give_up`` is called when the client goes away.
    """

    @property
    def address(self) -> str: ...

    def answer(self, data: bytes | None, *, instead: Seen | None = None) -> None: ...

    def hold(self, within_s: float, give_up: Callable[[], None]) -> None: ...


class PromptAnswers:
    """Answers what can be answered promptly."""

    def __init__(
        self,
        desk: Desk,
        router: Router,
        gate: Gate,
        backend: Prompt | None,
        questions: PromptQuestions | None,
        changes: PromptChanges,
        count: Callable[[int], None],
        failure: Callable[[Exception, Route, str, tuple[str, ...]], Reply],
    ) -> None:
        """``backend`` is None where reads go elsewhere (no server): then to ``questions``.

        ``count`` hears each answer's status; ``failure`` is the server's table of errors.
        """
        self._desk = desk
        self._guarded = desk.access.enabled
        #: Who shows a secret, by the shortest way: only asked where access is guarded.
        self._caller_now = desk.access.resolver.now
        self._tokens = desk.access.tokens
        self._guard = desk.access.guard
        #: Somebody else guards the state, and is shown the tokens.
        self._passes_on = self._guarded and not desk.access.guards_state
        self._router = router
        self._gate = gate
        self._backend = backend
        self._questions = questions
        self._changes = changes
        self._count = count
        self._failure = failure
        self._limits = desk.context.config.limits
        self._small_body = min(kind.limit(self._limits) for kind in Body if kind.value)
        #: The reply ``true`` of one second.
        self._true = b""
        self._true_at = 0
        self._any_char = desk.context.config.http_any_char
        self.kept = KeptReads(self._limits)
        self.answered = 0
        self.hits = 0

    def begin(self, asker: Asker, seen: Seen) -> bool:
        """Take a request on; False when it has to go the long way."""
        if seen.method == "GET":
            return self._begin_get(asker, seen)
        planned = self._plan(seen)
        if planned is None or not isinstance(planned.plan, Change):
            return False
        planned.call.address = asker.address
        if self._guarded and not self._may_change(planned.call, planned.plan):
            return False
        if not self._gate.open and self._refused(asker, planned):
            return True
        done = functools.partial(self._changed, asker, planned, planned.plan)
        # On a server the call has been looked at; what asks another agent takes the token along.
        secret = planned.call.secret or self._tokens.default
        acting = ACTING.set(secret) if self._passes_on else None
        try:
            self._changes.change_soon(planned.plan.command, done, planned.call.actor)
        except StoreError:
            return False  # it cannot even be encoded: the long way says why
        finally:
            if acting is not None:
                ACTING.reset(acting)
        return True

    def _begin_get(self, asker: Asker, whole: Seen) -> bool:
        backend, questions = self._backend, self._questions
        if backend is None and questions is None:
            return False
        seen = whole
        kept = self.kept.find((seen.target, seen.head))
        if kept is None:
            # Where the head names no token that of the target is cut out of it; it beats the other.
            named = b"token=" in seen.target and seen.head.quiet
            cut = target_token(seen.target) if named else None
            if cut is not None:
                seen = seen._replace(target=cut[0], token=cut[1])
                kept = self.kept.find((seen.target, seen.head))
            kept = kept or self._plan_read(seen)
        if kept is None:
            return backend is not None and self._begin_held(asker, whole, backend)
        # Counted here only if it is answered here: the long way counts for itself.
        if not self._gate.open and self._too_many(asker, kept, seen):
            return True
        if backend is not None:
            return self._begin_read(asker, kept, seen, backend)
        assert questions is not None
        return self._ask_elsewhere(asker, kept, seen, questions)

    def _too_many(self, asker: Asker, kept: KeptRead, seen: Seen) -> bool:
        kept.planned.call.secret = kept.secret or seen.token
        return self._refused(asker, kept.planned)

    def _refused(self, asker: Asker, planned: Planned) -> bool:
        """Answer a request that is one too many."""
        call = planned.call
        endpoint = planned.route.endpoint(call.method)
        assert endpoint is not None, "what was planned has an endpoint"
        reply = self._gate.refusal(planned.route, endpoint, call, asker.address)
        if reply is None:
            return False
        self._answer(asker, planned, reply)
        return True

    # -- planning

    def _plan(self, seen: Seen) -> Planned | None:
        try:
            path = plain_path(seen.target)
            query = ""
            if path is None:
                target = read_target(seen.target.decode("ascii"), any_char=self._any_char)
                if target.redirect:
                    return None
                path, query = target.path, target.query
            found = self._router.find(path)
            if found is None:
                return None
            route, rest = found
            endpoint = route.endpoint(seen.method)
            if endpoint is None or endpoint.plan is None or not self._fits(endpoint, seen.body):
                return None
            if self._passes_on and not self._left_to_others(route, endpoint):
                return None
            head = seen.head
            params = parse_query(query)
            call = Call(self._desk, head, seen.method, route.path, rest, params)
            call.body = seen.body
            if params is EMPTY and head.quiet:
                call.quiet, call.secret = True, seen.token
            else:
                refuse_enterprise(params, head.headers)
                call.secret = token_of(NO_HEADERS, params) or seen.token
                call.secret = call.secret or token_of(head.headers, params)
            plan = endpoint.plan(call)
        except (BadTarget, RequestError):
            return None
        return None if plan is None else make_planned(call, head, route, plan)

    def _left_to_others(self, route: Route, endpoint: Endpoint) -> bool:
        """Whether this agent decides nothing itself about a call that it passes on."""
        node = self._desk.context.config.node_name
        return endpoint.permission != OPEN and route_need(route, endpoint, node) is None

    def _fits(self, endpoint: Endpoint, body: bytes) -> bool:
        if not body or (len(body) <= self._small_body and endpoint.body is not Body.NONE):
            return True
        return len(body) <= endpoint.body.limit(self._limits)

    def _plan_read(self, seen: Seen) -> KeptRead | None:
        planned = self._plan(seen)
        if planned is None or not isinstance(planned.plan, Read) or seen.body:
            return None
        if "cached" in planned.call.params:
            return None  # its reply tells how old it is
        options = planned.plan.options
        if options.min_index or options.max_stale_s is not None or options.at is not None:
            return None  # it may have to wait, or tells of the past
        # What target and head say of tokens is the same whenever they are met, but for the one
        # that varies.
        params = planned.call.params
        secret = token_of(NO_HEADERS, params)
        if not secret and not seen.token:
            secret = token_of(seen.head.headers, params)
        needs = self._guard.needs_alone(planned.plan.query) if self._guarded else None
        kept = KeptRead(planned, planned.plan, secret, needs)
        self.kept.add((seen.target, seen.head), kept)
        return kept

    # -- reads

    def _begin_read(self, asker: Asker, kept: KeptRead, seen: Seen, backend: Prompt) -> bool:
        if kept.read.options.consistency is Consistency.STALE:
            self._answer_read(asker, kept, seen, backend, None)
        else:
            backend.fresh_soon(functools.partial(self._answer_read, asker, kept, seen, backend))
        return True

    def _answer_read(
        self,
        asker: Asker,
        kept: KeptRead,
        seen: Seen,
        backend: Prompt,
        error: Exception | None,
    ) -> None:
        if error is not None:
            self._fail(asker, kept.planned, error)
            return
        told = self._ready(kept, seen, backend)
        if told is None:
            asker.answer(None)
            return
        self.answered += 1
        self._count(told.status)
        # What a quorum has just confirmed is as of now.
        stale = kept.read.options.consistency is Consistency.STALE
        asker.answer(told.encoded(backend.last_contact_s if stale else 0.0))

    def _ready(self, kept: KeptRead, seen: Seen, backend: Prompt) -> KeptRead | None:
        """The reply of the present index for whoever asks; None when it is none to be kept."""
        try:
            if not self._guarded:
                return kept if self._render(kept, EVERYBODY, backend) else None
            caller = self._caller_now(kept.secret or seen.token or self._tokens.default)
            told = None if caller is None else self._admitted(kept, caller)
            if caller is None or told is None:
                return None
            return told if self._render(told, caller, backend) else None
        except Exception:  # a bug in a handler: the long way meets it too and reports it
            return None

    def _render(self, kept: KeptRead, caller: Caller, backend: Prompt) -> bool:
        """Have a reply of the present index; False when it is none to be kept."""
        read = kept.read
        index, known_leader = backend.index_of(read.query), backend.known_leader
        if kept.index == index and kept.known_leader is known_leader:
            self.hits += 1
            return True
        if backend.is_long(read.query):
            return False
        answer = backend.answer(read.query, read.options.consistency)
        if self._guarded:
            kept.planned.call.caller = caller
            answer = self._guard.looked_at(caller, read.query, answer)
        reply = read.shape(answer)
        most = min(BODY_MAX_BYTES, COMPRESS_INLINE_MAX_BYTES)
        if reply.parts is not None or len(reply.body) > most:
            return False
        self._dress(reply, kept.planned.head)
        self.kept.render(kept, reply, index, known_leader)
        return True

    def _ask_elsewhere(
        self, asker: Asker, kept: KeptRead, seen: Seen, questions: PromptQuestions
    ) -> bool:
        """Have another agent answer. The token goes with the question: there it is looked at."""
        read = kept.read
        if not self._guarded:
            told = functools.partial(self._told, asker, kept, EVERYBODY)
            return questions.ask_soon(read.query, read.options, told)
        secret = kept.secret or seen.token or self._tokens.default
        caller = self._caller_now(secret)
        if caller is None:
            return False
        with on_behalf(secret):
            told = functools.partial(self._told, asker, kept, caller)
            return questions.ask_soon(read.query, read.options, told)

    def _told(
        self, asker: Asker, kept: KeptRead, caller: Caller, told: Told[Any] | Exception
    ) -> None:
        """Another agent has answered; nothing of that is kept."""
        if isinstance(told, Exception):
            self._fail(asker, kept.planned, told)
            return
        kept.planned.call.caller = caller  # whoever else has asked meanwhile
        try:
            reply = kept.read.shape(told)
        except Exception as error:
            self._fail(asker, kept.planned, error)
            return
        if reply.parts is not None or len(reply.body) > COMPRESS_INLINE_MAX_BYTES:
            asker.answer(None)
        else:
            self._answer(asker, kept.planned, reply)

    # -- reads that wait

    def _begin_held(self, asker: Asker, seen: Seen, backend: Prompt) -> bool:
        """Take on a blocking query; False when it has to go the long way."""
        asked = taken_apart(seen.target)
        if asked is None:
            return False
        kept = self.kept.find((asked.target, seen.head))
        if kept is None:
            kept = self._plan_read(without_wait(seen, asked.target))
        if kept is None or not self._blocks(kept, seen) or backend.is_long(kept.read.query):
            return False
        if self._guarded:
            caller = self._caller_now(kept.secret or seen.token or self._tokens.default)
            if caller is None or self._admitted(kept, caller) is None:
                return False
        if not self._gate.open and self._too_many(asker, kept, seen):
            return True
        held = HeldRead(
            backend,
            self._desk.waiting,
            kept.read.query,
            min_index=asked.min_index,
            answer=functools.partial(self._answer_held, asker, seen, asked.target, kept, backend),
        )
        stale = kept.read.options.consistency is Consistency.STALE
        return held.begin(asker, self._wait_s(asked.wait), stale=stale)

    def _blocks(self, kept: KeptRead, seen: Seen) -> bool:
        """Whether this endpoint waits behind an index at all: its own plan says so, once."""
        if kept.blocks is None:
            planned = self._plan(seen)
            kept.blocks = (
                planned is not None
                and isinstance(planned.plan, Read)
                and planned.plan.options.min_index > 0
            )
        return kept.blocks

    def _wait_s(self, text: str) -> float:
        config = self._desk.context.config
        _, wait_s = wait(
            Params({"wait": [text]}),
            default_s=config.default_query_time_s,
            max_s=config.max_query_time_s,
        )
        return jittered(wait_s, self._desk.context.rng)

    def _answer_held(
        self,
        asker: Asker,
        seen: Seen,
        target: bytes,
        kept: KeptRead,
        backend: Prompt,
        error: Exception | None,
    ) -> None:
        """Its wait is over."""
        if error is not None:
            self._fail(asker, kept.planned, error)
            return
        told = self._ready(kept, seen, backend)
        if told is None:  # it has waited already
            asker.answer(None, instead=without_wait(seen, target))
            return
        self.answered += 1
        self._count(told.status)
        asker.answer(told.encoded(backend.last_contact_s))

    # -- permissions: whatever is not plainly allowed goes the long way

    def _admitted(self, kept: KeptRead, caller: Caller) -> KeptRead | None:
        """The reply that is for whoever asks; None where its rights do not cover the question."""
        rights = caller.rights
        if kept.needs is not None:
            if rights is not kept.last:
                need = kept.need
                if need is not None:
                    met = caller.authorizer.allows(need.resource, need.verb, need.name)
                else:
                    met = all_met(kept.needs, caller.authorizer)
                if not met:
                    return None
                kept.last = rights
            return kept
        told = kept.readers.get(rights)
        if told is None or not told.held:
            told = self._let_in(kept, caller, rights)
        return told

    def _let_in(self, kept: KeptRead, caller: Caller, rights: object) -> KeptRead | None:
        guard, query = self._guard, kept.read.query
        if not guard.asks_plainly(caller, query):
            return None
        told = kept
        if not guard.told_alike(caller, query):
            key = kept, rights
            found = self.kept.find(key)
            if found is None:
                self.kept.add(key, found := KeptRead(kept.planned, kept.read))
            told = found
        self.kept.let_in(kept, rights, told)
        return told

    def _may_change(self, call: Call, change: Change) -> bool:
        caller = self._caller_now(call.secret or self._tokens.default)
        if caller is None:
            return False
        if not self._passes_on and not self._guard.changes_plainly(caller, change.command):
            return False
        call.caller = caller
        return True

    # -- changes

    def _changed(
        self, asker: Asker, planned: Planned, change: Change, outcome: Outcome | Exception
    ) -> None:
        if type(outcome) is Applied and outcome.value is change.true_for:
            self.answered += 1
            self._count(200)
            asker.answer(self._said_true(planned, change, outcome))
            return
        if isinstance(outcome, Exception):
            self._fail(asker, planned, outcome)
            return
        try:
            reply = change.reply(outcome)
        except Exception as error:
            self._fail(asker, planned, error)
            return
        self._answer(asker, planned, reply)

    def _said_true(self, planned: Planned, change: Change, outcome: Applied) -> bytes:
        """The reply ``true``: the same for everybody within a second."""
        now = second()
        if now != self._true_at:
            reply = change.reply(outcome)
            self._dress(reply, planned.head)
            self._true, self._true_at = reply.encoded(), now
        return self._true

    def _fail(self, asker: Asker, planned: Planned, error: Exception) -> None:
        call = planned.call
        reply = self._failure(error, planned.route, call.method, call.failure_headers)
        self._answer(asker, planned, reply)

    def _answer(self, asker: Asker, planned: Planned, reply: Reply) -> None:
        self._dress(reply, planned.head)
        self.answered += 1
        self._count(reply.status)
        asker.answer(reply.encoded())

    def _dress(self, reply: Reply, head: Head) -> None:
        """What the server does to every reply of the API."""
        reply.headers += self._desk.api_headers
        if head.gzip and len(reply.body) >= GZIP_MIN_BYTES:
            reply.body = gzipped(reply.body)
            reply.headers += ("Content-Encoding: gzip",)
