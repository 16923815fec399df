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
from dataclasses import dataclass
from typing import Any, Protocol

from agent.backend import Consistency, Prompt, PromptChanges, PromptQuestions
from agent.backend import Reply as Told
from agent.errors import RequestError
from agent.http.call import Call, Change, Desk, Read
from agent.http.gate import Gate, token_of
from agent.http.held import HeldRead, taken_apart, without_wait
from agent.http.lane import Head, Seen
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
    date_line,
    gzipped,
    second,
)
from agent.http.routes import Endpoint, Route, Router
from agent.http.routes.table import Body
from raftstore.commands import Applied, Outcome
from raftstore.errors import StoreError
from raftstore.thawed import maker_of

#: Kept reads, and the bytes that their replies may take together; the oldest make room.
READS_MAX = 8192
READS_BYTES_MAX = 16 * 1024 * 1024
#: Replies with a larger body are made each time, by the long way.
BODY_MAX_BYTES = 256 * 1024

_AGE = b"\r\nX-Consul-Lastcontact: "


class Asker(Protocol):
    """Where the answer goes; None sends the request the long way, or another one ``instead``.

    While a request is held, ``give_up`` is called when the client goes away.
    """

    @property
    def address(self) -> str: ...

    def answer(self, data: bytes | None, *, instead: Seen | None = None) -> None: ...

    def hold(self, within_s: float, give_up: Callable[[], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class _Planned:
    """A request with what it asks."""

    call: Call
    head: Head
    route: Route
    plan: Read | Change


_make_planned = maker_of(_Planned)


class _KeptRead:
    """A read and its reply at one index, in pieces around what changes."""

    __slots__ = ("after_age", "after_date", "before_age", "blocks", "generation", "held", "index",
                 "known_leader", "planned", "read", "size", "status")  # fmt: skip

    def __init__(self, planned: _Planned, read: Read) -> None:
        self.planned = planned
        self.read = read
        #: Still among the kept ones; a read may be pushed out while its answer is on its way.
        self.held = True
        #: Whether an index makes it wait; None until somebody has asked with one.
        self.blocks: bool | None = None
        self.index = -1
        #: Of the rights that the caller was found to have.
        self.generation = -1
        self.known_leader = False
        self.status = 0
        self.size = 0
        self.before_age = self.after_age = self.after_date = b""

    def render(self, reply: Reply, index: int, known_leader: bool) -> None:
        """Keep a reply."""
        opening = reply.opening().encode("utf-8", "replace")
        before, age, after = opening.partition(_AGE)
        assert age, "every read tells the age of its answer"
        self.before_age = before + age
        self.after_age = after[after.index(b"\r\n") :]
        self.after_date = b"Content-Length: %d\r\n\r\n" % len(reply.body) + reply.body
        self.status, self.index, self.known_leader = reply.status, index, known_leader
        self.size = len(opening) + len(self.after_date)

    def encoded(self, last_contact_s: float) -> bytes:
        """The reply as of now."""
        age = b"%d" % (last_contact_s * 1000)
        return b"".join((self.before_age, age, self.after_age, date_line(), self.after_date))


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
        self._reads: dict[tuple[bytes, Head], _KeptRead] = {}
        self._bytes = 0
        self.answered = 0
        self.hits = 0

    def begin(self, asker: Asker, seen: Seen) -> bool:
        """Take a request on; False when it has to go the long way."""
        if seen.method == "GET":
            backend, questions = self._backend, self._questions
            if backend is None and questions is None:
                return False
            kept = self._reads.get((seen.target, seen.head)) or self._plan_read(seen)
            if kept is None:
                return backend is not None and self._begin_held(asker, seen, backend)
            if backend is None and self._desk.access.enabled:
                return False  # the token goes with it, the long way
            # Counted here only if it is answered here: the long way counts for itself.
            if not self._gate.open and self._refused(asker, kept.planned):
                return True
            if backend is not None:
                return self._begin_read(asker, kept, backend)
            assert questions is not None
            read, told = kept.read, functools.partial(self._told, asker, kept)
            return questions.ask_soon(read.query, read.options, told)
        planned = self._plan(seen)
        if planned is None or not isinstance(planned.plan, Change):
            return False
        planned.call.address = asker.address
        if self._desk.access.enabled and not self._may_change(planned.call, planned.plan):
            return False
        if not self._gate.open and self._refused(asker, planned):
            return True
        done = functools.partial(self._changed, asker, planned, planned.plan)
        try:
            self._changes.change_soon(planned.plan.command, done, planned.call.actor)
        except StoreError:
            return False  # it cannot even be encoded: the long way says why
        return True

    def _refused(self, asker: Asker, planned: _Planned) -> bool:
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

    def _plan(self, seen: Seen) -> _Planned | None:
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
            head = seen.head
            params = parse_query(query)
            call = Call(self._desk, head, seen.method, route.path, rest, params)
            call.body = seen.body
            if params is EMPTY and head.quiet:
                call.quiet = True
            else:
                refuse_enterprise(params, head.headers)
                call.secret = token_of(head.headers, params)
            plan = endpoint.plan(call)
        except (BadTarget, RequestError):
            return None
        return None if plan is None else _make_planned(call, head, route, plan)

    def _fits(self, endpoint: Endpoint, body: bytes) -> bool:
        if not body or (len(body) <= self._small_body and endpoint.body is not Body.NONE):
            return True
        return len(body) <= endpoint.body.limit(self._limits)

    def _plan_read(self, seen: Seen) -> _KeptRead | None:
        planned = self._plan(seen)
        if planned is None or not isinstance(planned.plan, Read) or seen.body:
            return None
        if "cached" in planned.call.params:
            return None  # its reply tells how old it is
        options = planned.plan.options
        if options.min_index or options.max_stale_s is not None or options.at is not None:
            return None  # it may have to wait, or tells of the past
        kept = _KeptRead(planned, planned.plan)
        while len(self._reads) >= READS_MAX:
            self._forget_oldest()
        self._reads[seen.target, seen.head] = kept
        return kept

    def _forget_oldest(self) -> None:
        oldest = self._reads.pop(next(iter(self._reads)))
        self._bytes -= oldest.size
        oldest.held = False

    def drop(self) -> None:
        """Keep no reply: the state was replaced by another one."""
        while self._reads:
            self._forget_oldest()

    # -- reads

    def _begin_read(self, asker: Asker, kept: _KeptRead, backend: Prompt) -> bool:
        if kept.read.options.consistency is Consistency.STALE:
            self._answer_read(asker, kept, backend, None)
        else:
            backend.fresh_soon(functools.partial(self._answer_read, asker, kept, backend))
        return True

    def _answer_read(
        self, asker: Asker, kept: _KeptRead, backend: Prompt, error: Exception | None
    ) -> None:
        if error is not None:
            self._fail(asker, kept.planned, error)
            return
        try:
            is_kept = self._render(kept, backend)
        except Exception:  # a bug in a handler: the long way meets it too and reports it
            is_kept = False
        if not is_kept:
            asker.answer(None)
            return
        self.answered += 1
        self._count(kept.status)
        # What a quorum has just confirmed is as of now.
        stale = kept.read.options.consistency is Consistency.STALE
        asker.answer(kept.encoded(backend.last_contact_s if stale else 0.0))

    def _render(self, kept: _KeptRead, backend: Prompt) -> bool:
        """Have the reply of the present index at hand; False when it is none to be kept."""
        access = self._desk.access
        if access.enabled and not self._admitted(kept):
            return False
        index, known_leader = backend.index_of(kept.read.query), backend.known_leader
        if kept.index == index and kept.known_leader is known_leader:
            self.hits += 1
            return True
        read = kept.read
        if backend.is_long(read.query):
            return False
        answer = backend.answer(read.query, read.options.consistency)
        if access.enabled:
            answer = access.guard.looked_at(kept.planned.call.caller, read.query, answer)
        reply = read.shape(answer)
        most = min(BODY_MAX_BYTES, COMPRESS_INLINE_MAX_BYTES)
        if reply.parts is not None or len(reply.body) > most:
            return False
        self._dress(reply, kept.planned.head)
        before = kept.size
        kept.render(reply, index, known_leader)
        if kept.held:
            self._bytes += kept.size - before
        while self._bytes > READS_BYTES_MAX and len(self._reads) > 1:
            self._forget_oldest()
        return True

    def _told(self, asker: Asker, kept: _KeptRead, told: Told[Any] | Exception) -> None:
        """Another agent has answered; nothing of that is kept."""
        if isinstance(told, Exception):
            self._fail(asker, kept.planned, told)
            return
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
        kept = self._reads.get((asked.target, seen.head))
        if kept is None:
            kept = self._plan_read(without_wait(seen, asked.target))
        if kept is None or not self._blocks(kept, seen) or backend.is_long(kept.read.query):
            return False
        if self._desk.access.enabled and not self._admitted(kept):
            return False
        if not self._gate.open and self._refused(asker, kept.planned):
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

    def _blocks(self, kept: _KeptRead, seen: Seen) -> bool:
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
        kept: _KeptRead,
        backend: Prompt,
        error: Exception | None,
    ) -> None:
        """Its wait is over."""
        if error is not None:
            self._fail(asker, kept.planned, error)
            return
        try:
            is_kept = self._render(kept, backend)
        except Exception:  # a bug in a handler: the long way meets it too and reports it
            is_kept = False
        if not is_kept:  # it has waited already
            asker.answer(None, instead=without_wait(seen, target))
            return
        self.answered += 1
        self._count(kept.status)
        asker.answer(kept.encoded(backend.last_contact_s))

    # -- permissions: whatever is not plainly allowed goes the long way

    def _admitted(self, kept: _KeptRead) -> bool:
        """Whether the caller's rights are known, and cover the question."""
        access, call = self._desk.access, kept.planned.call
        generation = access.generation
        if kept.generation == generation and not access.expired(call.caller):
            return True
        caller = access.caller_now(call.secret)
        if caller is None or not access.guard.asks_plainly(caller, kept.read.query):
            return False
        call.caller, kept.generation, kept.index = caller, generation, -1
        return True

    def _may_change(self, call: Call, change: Change) -> bool:
        access = self._desk.access
        caller = access.caller_now(call.secret) if access.guards_state else None
        if caller is None or not access.guard.changes_plainly(caller, change.command):
            return False
        call.caller = caller
        return True

    # -- changes

    def _changed(
        self, asker: Asker, planned: _Planned, change: Change, outcome: Outcome | Exception
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

    def _said_true(self, planned: _Planned, change: Change, outcome: Applied) -> bytes:
        """The reply ``true``: the same for everybody within a second."""
        now = second()
        if now != self._true_at:
            reply = change.reply(outcome)
            self._dress(reply, planned.head)
            self._true, self._true_at = reply.encoded(), now
        return self._true

    def _fail(self, asker: Asker, planned: _Planned, error: Exception) -> None:
        call = planned.call
        reply = self._failure(error, planned.route, call.method, call.failure_headers)
        self._answer(asker, planned, reply)

    def _answer(self, asker: Asker, planned: _Planned, reply: Reply) -> None:
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
