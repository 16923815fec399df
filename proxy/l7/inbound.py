"""Requests from the mesh to the local application: each one is authorised by itself.

Who asks is the certificate of the connection, never a header. What is decided about is what is
forwarded: the canonical path, the same headers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass

from proxy import jwt, paths, permissions
from proxy.authz import Policy, Rule
from proxy.errors import AmbiguousPath
from proxy.http1 import forward, underscores
from proxy.http1.head import Request, Response
from proxy.http2 import grpc
from proxy.jwt import Checked
from proxy.key_sets import KeySets
from proxy.l7.guard import Guard
from proxy.l7.limits import UPGRADES, HttpLimits
from proxy.l7.messages import Answer, Body
from proxy.l7.pipe import Pipe
from proxy.l7.pool import Connections
from proxy.l7.relaying import Began, Exchange, Outgoing, Replay, ask, give, switch, upgrade_wanted
from proxy.l7.retries import Failure
from proxy.l7.under_way import Later, Limit, UnderWay
from proxy.permissions import FullMatch, Verdict
from proxy.source import AppAddress
from proxy.spiffe import SpiffeId
from proxy.telemetry import entry
from proxy.telemetry.entry import Notes

#: How long requests may take to finish on a connection that is at its end.
FINISH_S = 30.0
#: What a denied client reads; the reason stays in the log, found by the reference.
DENIED = "RBAC: access denied"
#: Beside what is about one hop only.
_NOT_ONWARD = frozenset({"x-forwarded-client-cert", "expect"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One request that was refused or is only audited, for log and metrics."""

    allowed: bool
    reason: str
    reference: str
    method: str
    path: str
    rule: Rule | None = None


def several(request: Request) -> dict[str, tuple[str, ...]]:
    """The headers that came in several lines."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in request.headers:
        lowered = name.lower()
        found[lowered] = (*found.get(lowered, ()), value)
    return {name: values for name, values in found.items() if len(values) > 1}


class InboundPlan:
    """A request to the application on the short way."""

    __slots__ = (
        "_app",
        "_inbound",
        "_key",
        "_notes",
        "_over",
        "_repeats",
        "pipe",
        "raw",
        "timeout_s",
    )

    def __init__(
        self,
        inbound: InboundHttp,
        request: Request,
        replay: Replay,
        app: AppAddress,
        pipe: Pipe,
        raw: bytes,
        timeout_s: float,
        notes: Notes,
    ) -> None:
        self._inbound, self._app = inbound, app
        #: What may be asked twice, while all of it is at hand.
        self._repeats = replay if request.method in ("GET", "HEAD") else None
        self._key = inbound.under_way.begin(request, self._end, notes)
        self._over = False
        self.pipe = pipe
        self.raw = raw
        self.timeout_s = timeout_s
        self._notes = notes

    def answered(self, head: Response) -> bool:
        """Whatever the application says is its answer."""
        return True

    def headers(self, head: Response) -> None:
        """The headers of the answer: as they came."""

    def failed(self, failure: Failure) -> tuple[int, str] | None:
        """A kept connection may have ended at the very moment: the long way asks on a fresh one."""
        if failure.reset and self._repeats is not None and self._repeats.repeatable:
            return None
        return _failure(self._notes, failure.timed_out)

    def over(self, *, whole: bool, by_client: bool = False) -> None:
        """The request has ended."""
        self._over = True
        self._inbound.under_way.end(self._key)
        self._inbound.release(self._app, self.pipe, whole=whole)

    def leave(self) -> None:
        """It did not happen."""
        self.over(whole=False)

    def _end(self, after_s: float | None) -> None:
        if after_s is not None:
            self._inbound.later(after_s, self._cut)

    def _cut(self) -> None:
        if not self._over:
            self._notes.flag(entry.LOCAL_RESET)
            self._inbound.broken_off()


def _failure(notes: Notes, timed_out: bool) -> tuple[int, str]:
    """What a client is told when the application gives no answer."""
    notes.flag(entry.TIMEOUT if timed_out else entry.UPSTREAM_RESET)
    if timed_out:
        return 504, "the application did not answer in time"
    return 502, "the application broke off"


class InboundHttp:
    """Serves the requests of one connection whose client is known."""

    def __init__(
        self,
        *,
        client: SpiffeId,
        pipe: Pipe,
        pool: Connections,
        app: Callable[[], AppAddress],
        limits: HttpLimits,
        connect_timeout_s: float,
        request_timeout_s: float,
        policy: Callable[[], Policy],
        full_match: FullMatch,
        key_sets: KeySets,
        guard: Callable[[], Guard],
        tell: Callable[[Told], None],
        now: Callable[[], float],
        limit: Callable[[], Limit],
        later: Later,
        upgrades: Callable[[], Collection[str]] = lambda: UPGRADES,
        underscored: Callable[[], str] = lambda: underscores.REJECT,
    ) -> None:
        """``app`` says where the next request goes, ``limit`` makes what may end one early, and
        ``later`` calls after so many seconds; ``underscored`` says what becomes of such headers."""
        self._client = client
        self._certified = ("X-Forwarded-Client-Cert", f"URI={client.uri}")
        self._pipe = pipe
        self._pool = pool
        self._app = app
        self._limits = limits
        self._connect_timeout_s = connect_timeout_s
        self._request_timeout_s = request_timeout_s
        self._policy = policy
        self._full_match = full_match
        self._key_sets = key_sets
        self._guard = guard
        self._tell = tell
        self._now = now
        self._limit = limit
        self._upgrades = upgrades
        self._underscored = underscored
        self.later = later
        self.under_way = UnderWay()
        self._old = False

    def rules_changed(self, *, stream_s: float, request_s: float) -> int:
        """Decide again about what is under way; how many requests are to end."""
        return self.under_way.decide(
            lambda request: self._decide(request).decision.allowed,
            stream_s=stream_s,
            request_s=request_s,
        )

    def grown_old(self) -> None:
        """Take no more requests: those under way may finish."""
        self._old = True
        self._pipe.leave()
        if self.under_way.idle:
            self._pipe.finish()
        else:
            self.later(FINISH_S, self._end_all)

    def _end_all(self) -> None:
        self.under_way.flag(entry.TOO_OLD)
        self._pipe.abort()

    def broken_off(self) -> None:
        """End the connection: HTTP/1.1 has no other way to end an answer that has begun."""
        self._pipe.abort()

    async def handle(self, request: Request, body: Body, answer: Answer) -> None:
        """Decide by today's rules, then let the application answer."""
        answer.keep = answer.keep and not self._old
        request = underscores.screened(request, self._underscored())
        try:
            path = paths.canonical(request.target)
        except AmbiguousPath as error:
            await self._deny(answer, request, f"{permissions.AMBIGUOUS}{error}", None)
            return
        if self._policy().wanted:
            verdict = await self._with_tokens(request)
        else:
            verdict = self._decide(request)
        decision = verdict.decision
        if not decision.allowed:
            await self._deny(answer, request, decision.reason, decision.rule, verdict)
            return
        answer.notes.decision = "would_deny" if decision.audited else "allow"
        if decision.rule is not None:
            answer.notes.rule = str(decision.rule)
            answer.notes.precedence = decision.rule.precedence
        if decision.audited:
            self._told(request, decision.reason, decision.rule, allowed=True)
        query = request.target.partition("?")
        target = path + query[1] + query[2]
        guard, began_at = self._guard(), self._now()
        refused = guard.enter(path, began_at, self._full_match)
        if refused is not None:
            answer.notes.flag(entry.RATE_LIMITED if refused.status == 429 else entry.OVERFLOW)
            await answer.whole(refused.status, refused.text, refused.headers)
            return
        try:
            await self._while_allowed(request, target, body, answer, verdict.tokens)
        finally:
            guard.leave(self._now(), began_at, answered=0 < answer.status < 500)

    async def _while_allowed(
        self,
        request: Request,
        target: str,
        body: Body,
        answer: Answer,
        tokens: tuple[Checked, ...],
    ) -> None:
        """Forward it; new rules may end it."""
        key = None
        try:
            async with self._limit() as until:

                def ending(after_s: float | None) -> None:
                    until.reschedule(None if after_s is None else self._now() + after_s)

                key = self.under_way.begin(request, ending, answer.notes)
                await self._forward(request, target, body, answer, tokens)
        except TimeoutError:
            if until.expired():
                answer.notes.flag(entry.LOCAL_RESET)
            if until.expired() and not answer.begun:
                verdict = self._decide(request)
                decision = verdict.decision
                await self._deny(answer, request, decision.reason, decision.rule, verdict)
                return
            raise
        finally:
            self.under_way.end(key)

    def plan(self, request: Request, notes: Notes, replay: Replay) -> InboundPlan | None:
        """The short way of a request that needs no waiting; else None."""
        guard, keys = self._guard(), self._key_sets
        if guard.is_set or keys.own_headers or self._policy().wanted or self._old:
            return None
        if underscores.some(request):
            return None
        try:
            path = paths.canonical(request.target)
        except AmbiguousPath:
            return None
        decision = self._decide(request).decision
        if not decision.allowed or decision.audited:
            return None
        app = self._app()
        pipe = self._pool.kept(app, self._now())
        if not isinstance(pipe, Pipe):
            return None
        notes.decision = "allow"
        if decision.rule is not None:
            notes.rule, notes.precedence = str(decision.rule), decision.rule.precedence
        query = request.target.partition("?")
        target = path + query[1] + query[2]
        headers, frame = self._headers(request, app), replay.framing
        raw = forward.request_bytes(request.method, target, headers, frame)
        timeout_s = grpc.lowered(self._request_timeout_s, request)
        return InboundPlan(self, request, replay, app, pipe, raw, timeout_s, notes)

    def release(self, app: AppAddress, pipe: Pipe, *, whole: bool) -> None:
        """A connection of the short way is free again, or at its end."""
        if whole:
            self._pool.keep(app, pipe, self._now())
        else:
            pipe.abort()

    async def _with_tokens(self, request: Request) -> Verdict:
        """Decide where tokens count: with the providers' key sets at hand, once more if the token
        names a key that may be new."""
        await self._key_sets.ready(self._policy().wanted)
        seen: list[Checked] = []
        verdict = self._decide(request, seen)
        unknown = [each for each in seen if each.unknown_key]
        if not verdict.decision.allowed and unknown and await self._key_sets.renewed(unknown[0]):
            verdict = self._decide(request)
        return verdict

    def _decide(self, request: Request, seen: list[Checked] | None = None) -> Verdict:
        policy = self._policy()
        decision = policy.decide(self._client)
        rule = decision.rule
        if rule is None or not (rule.matches or rule.providers):
            # No rule asks for anything of the request: the answer about its sender is remembered.
            return Verdict(decision=decision)
        joined = request.by_name
        tokens = self._key_sets.tokens(joined, request.target)
        lines = several(request) if len(joined) < len(request.headers) else {}

        def look(name: str) -> Checked:
            checked = tokens(name)
            if seen is not None:
                seen.append(checked)
            return checked

        return permissions.decide(
            policy.rules,
            permissions.Request(
                method=request.method, target=request.target, headers=joined, lines=lines
            ),
            source=self._client.name,
            destination=policy.destination,
            default_allow=policy.default_allow,
            default_reason=policy.default_reason,
            full_match=self._full_match,
            tokens=look,
        )

    async def _deny(
        self,
        answer: Answer,
        request: Request,
        reason: str,
        rule: Rule | None,
        verdict: Verdict | None = None,
    ) -> None:
        reference = self._told(request, reason, rule, allowed=False)
        notes = answer.notes
        notes.decision, notes.reference, notes.rule = "deny", reference, str(rule or "")
        notes.precedence = rule.precedence if rule else 0
        notes.flag(entry.DENIED)
        headers = [("X-Lictor-Reference", reference)]
        if verdict is None or not verdict.text:
            await answer.whole(403, DENIED, headers)
            return
        headers.append(("WWW-Authenticate", "Bearer"))
        await answer.whole(verdict.status, verdict.text, headers)

    def _told(self, request: Request, reason: str, rule: Rule | None, *, allowed: bool) -> str:
        reference = secrets.token_hex(8)
        self._tell(
            Told(
                allowed=allowed,
                reason=reason,
                reference=reference,
                method=request.method,
                path=request.target.partition("?")[0],
                rule=rule,
            )
        )
        return reference

    async def _forward(
        self,
        request: Request,
        target: str,
        body: Body,
        answer: Answer,
        tokens: tuple[Checked, ...] = (),
    ) -> None:
        app = self._app()
        headers = self._headers(request, app)
        if tokens or self._key_sets.own_headers:
            headers, target = jwt.forwarded(headers, target, tokens, self._key_sets.own_headers)
        switching = upgrade_wanted(request, self._upgrades())
        if switching:
            headers += [("Connection", "Upgrade"), ("Upgrade", switching)]
        out = Outgoing(request.method, target, headers, switching)
        replay, now = Replay(body), self._now()
        timeout_s = grpc.lowered(self._request_timeout_s, request)
        kept = self._pool.kept(app, now)
        began = None
        if kept is not None:
            began = await ask(kept, out, request, replay, self._limits, timeout_s)
            if not isinstance(began, Began):
                kept.abort()
                # A kept connection may have ended at the very moment: nothing was answered, and
                # what may be repeated is asked once more on a fresh one.
                again = replay.repeatable and (
                    not began.sent or (began.reset and request.method in ("GET", "HEAD"))
                )
                if not again or replay.client.gone:
                    await self._failed(answer, began.timed_out)
                    return
                kept, began = None, None
        if kept is None:
            try:
                kept = await self._pool.dial(app, None, self._connect_timeout_s)
            except (OSError, TimeoutError):
                answer.notes.flag(entry.NO_CONNECTION)
                await answer.whole(
                    503, "no connection to the application",
                    [("X-Lictor-Reason", "local_connect_failure")],
                )  # fmt: skip
                return
            began = await ask(kept, out, request, replay, self._limits, timeout_s)
        if not isinstance(began, Began):
            kept.abort()
            await self._failed(answer, bool(began and began.timed_out))
            return
        await self._give(app, kept, began, answer)

    async def _give(
        self, app: AppAddress, kept: Pipe | Exchange, began: Began, answer: Answer
    ) -> None:
        headers = forward.onward(began.head)
        try:
            if began.head.status == 101:
                answer.begun, answer.keep = True, False
                await switch(self._pipe, kept, began, headers, self._limits)
            elif await give(kept, began, answer, headers, self._limits):
                self._pool.keep(app, kept, self._now())
                return
        except BaseException:
            kept.abort()
            raise
        kept.finish()

    async def _failed(self, answer: Answer, timed_out: bool) -> None:
        await answer.whole(*_failure(answer.notes, timed_out))

    def _headers(self, request: Request, app: AppAddress) -> list[tuple[str, str]]:
        """What the application sees: who asked is told by us alone."""
        kept = forward.onward(request, without=_NOT_ONWARD)
        if app.host:
            kept = [each for each in kept if each[0].lower() != "host"]
            kept.append(("Host", app.host))
        kept.append(self._certified)
        if request.get("x-forwarded-proto") is None:
            kept.append(("X-Forwarded-Proto", "https"))
        return kept
