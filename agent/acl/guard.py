"""The one place where a server enforces permissions on its state.

Whatever reaches the state for somebody, through a handler, DNS, the server port or a held query,
passes here with the one it is for. What is denied is counted, explained and, in a dry run, carried
out all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast

from agent.acl.authorizer import Authorizer
from agent.acl.builtin import ANONYMOUS_SECRET
from agent.acl.caller import Caller, Denied, Need, TokenNotFound
from agent.acl.reads import READS, ReadRule, acts_for_a_query, list_need, visible_results
from agent.acl.resolver import Resolver
from agent.acl.writes import WRITES, AnyOf, Asking, Named, Plain, operation_needs
from agent.backend import Ask, Reply
from agent.errors import AgentError, RequestError
from agent.queries import Definition, QueryNotFound, QueryRefused, resolution, run
from raftstore import commands, queries, wire
from raftstore.commands import Applied, Command, Outcome, Transaction
from raftstore.definition_queries import (
    ACLTokenBySecret,
    CoordinatesOf,
    GetACLPolicy,
    GetACLRole,
)
from raftstore.definitions import secret_hash
from raftstore.queries import HealthService, Query, ReadTransaction
from raftstore.records import Actor, ServiceName, TxnAnswer, TxnError, TxnResult

log = logging.getLogger("lictor.agent.acl")

T = TypeVar("T")

#: Items of a list that are looked at in one go: about a millisecond.
SLICE_ITEMS = 500
#: Denials that are remembered for those who ask why.
DENIALS_MAX = 64


class Undeclared(AgentError):
    """Something could be asked or changed without anybody having said what that needs."""


def check_declared() -> None:
    """Refuse to start with a command or a query that has no line. Raises Undeclared."""
    missing = [
        kind.__name__
        for registry, lines in ((commands.REGISTRY, WRITES), (queries.REGISTRY, READS))
        for kind in registry.values()
        if kind not in lines
    ]
    if missing:
        raise Undeclared(f"no permission is declared for {', '.join(sorted(missing))}")


def all_met(wanted: tuple[AnyOf, ...], authorizer: Authorizer) -> bool:
    """Whether of each group one is met. Loops, not generators: many requests pass here."""
    for needs in wanted:
        for need in needs:
            if need.met(authorizer):
                break
        else:
            return False
    return True


@dataclass(slots=True)
class GuardStats:
    """Counters since start. ``dry_run_allowed`` were carried out although they were denied."""

    allowed: int = 0
    denied: int = 0
    filtered: int = 0
    dry_run_allowed: int = 0


class State(Protocol):
    """A server's way to its state."""

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome: ...
    async def ask(self, query: Query[T], options: Ask = ...) -> Reply[T]: ...
    def peek(self, query: Query[T]) -> Reply[T] | None: ...


class Guard:
    """Carries out what a caller may, and refuses the rest with ``Denied``."""

    def __init__(
        self, state: State, resolver: Resolver, *, key_list_policy: bool, dry_run: bool
    ) -> None:
        self._state = state
        self._resolver = resolver
        self._key_list_policy = key_list_policy
        self._dry_run = dry_run
        self.stats = GuardStats()
        #: Why requests were denied, newest last.
        self.denials: deque[str] = deque(maxlen=DENIALS_MAX)

    # -- single needs ----------------------------------------------------------------------------

    def require(self, caller: Caller, *needs: Need) -> None:
        """Pass if one of these is met. Raises Denied."""
        for need in needs:
            if need.met(caller.authorizer):
                self.stats.allowed += 1
                return
        denied = Denied(caller, needs[-1])
        self.denials.append(denied.reason)
        if self._dry_run:
            self.stats.dry_run_allowed += 1
            log.warning("dry run: would be denied reason=%s", denied.reason)
            return
        self.stats.denied += 1
        log.debug("denied reason=%s", denied.reason)
        raise denied

    def peek(self, query: Query[T]) -> T | None:
        """What this process holds, for a need that depends on it."""
        found = self._state.peek(query)
        return None if found is None else found.value

    # -- reads -----------------------------------------------------------------------------------

    async def ask(self, caller: Caller, query: Query[T], options: Ask | None = None) -> Reply[T]:
        """Ask on somebody's behalf. What was held is looked at with the rights of its end."""
        rule = READS[type(query)]
        self._check(caller, query, rule)
        if caller.authorizer.management and not acts_for_a_query(query):
            return await self._state.ask(query, options or Ask())
        if isinstance(query, ReadTransaction):
            errors = self.refused_steps(caller, query)
            if errors:
                return Reply(value=cast("T", TxnAnswer(errors=errors)), index=1)
        asked: Query[T] = rule.instead(query) if rule.instead is not None else query
        reply = await self._state.ask(asked, options or Ask())
        if options is not None and options.min_index:
            caller = await self._resolver.find(caller.secret)
            self._check(caller, query, rule)
        self._look(caller, query, rule, reply.value)
        return await self._seen(caller, query, rule, reply)

    async def told(self, caller: Caller, query: Query[T], reply: Reply[T]) -> Reply[T]:
        """What of an answer that was kept may be seen. Raises Denied."""
        rule = READS[type(query)]
        self._check(caller, query, rule)
        self._look(caller, query, rule, reply.value)
        return await self._seen(caller, query, rule, reply)

    async def _seen(
        self, caller: Caller, query: Query[T], rule: ReadRule, reply: Reply[T]
    ) -> Reply[T]:
        caller = self._acting(caller, query)
        value: Any = reply.value
        if caller.authorizer.management or rule.sees_all(caller.authorizer):
            return self.filtered(caller, query, reply)
        if rule.keep is not None and len(value) > SLICE_ITEMS:
            return await self._sliced(caller, query, rule, reply)
        if isinstance(value, TxnAnswer):
            results = await _visible(caller.authorizer, value.results)
            removed = len(results) < len(value.results)
            shown: Any = replace(value, results=results)
            return self._without(caller, reply, shown, removed=removed)
        return self.filtered(caller, query, reply)

    def asks_plainly(self, caller: Caller, query: Query[Any]) -> bool:
        """Whether a question may be asked as it is; what is denied is neither counted nor told."""
        rule, authorizer = READS[type(query)], caller.authorizer
        if acts_for_a_query(query):
            return False  # what is seen depends on another token as well
        if authorizer.management:
            return True
        if rule.instead is not None and rule.instead(query) is not query:
            return False
        return all_met(self._needs(query, rule), authorizer)

    def needs_alone(self, query: Query[Any]) -> tuple[AnyOf, ...] | None:
        """What decides alone about a question: whoever meets all of it may ask, and all of those
        are told the same. None where it takes more than that."""
        rule = READS[type(query)]
        plain = rule.keep is None and rule.shape is None and rule.found is None
        if not plain or rule.instead is not None or acts_for_a_query(query):
            return None
        return self._needs(query, rule)

    def _needs(self, query: Query[Any], rule: ReadRule) -> tuple[AnyOf, ...]:
        """What must be met before the question is asked, of each group one."""
        found = [(each,) if isinstance(each, Need) else each for each in rule.needs(query)]
        listed = list_need(query) if self._key_list_policy else None
        return tuple(found) if listed is None else (*found, (listed,))

    def told_alike(self, caller: Caller, query: Query[Any]) -> bool:
        """Whether all who may ask this plainly are told what this caller is told."""
        return READS[type(query)].tells_alike(caller.authorizer)

    def changes_plainly(self, caller: Caller, command: Command) -> bool:
        """The same for a command."""
        if caller.authorizer.management:
            return True
        line = WRITES[type(command)]
        if type(line) is Named:
            return caller.authorizer.allows(line.resource, line.verb, line.name(command))
        if type(line) is Plain:
            return all_met(line.needs(command), caller.authorizer)
        try:
            return all_met(self._answered(line(command)), caller.authorizer)
        except RequestError:
            return False

    def _check(self, caller: Caller, query: Query[Any], rule: ReadRule) -> None:
        if self._about_oneself(caller, query):
            return
        for needs in self._needs(query, rule):
            self.require(caller, *needs)

    def _look(self, caller: Caller, query: Query[Any], rule: ReadRule, value: Any) -> None:
        found = rule.found(query, value) if rule.found is not None else ()
        if found:
            self.require(caller, *found)

    def answer(self, caller: Caller, query: Query[T], reply: Reply[T]) -> Reply[T]:
        """What of an answer that is here already may be seen. Raises Denied."""
        self._check(caller, query, READS[type(query)])
        return self.looked_at(caller, query, reply)

    def looked_at(self, caller: Caller, query: Query[T], reply: Reply[T]) -> Reply[T]:
        """The same where the question itself was found to be allowed. Raises Denied."""
        self._look(caller, query, READS[type(query)], reply.value)
        return self.filtered(caller, query, reply)

    def filtered(self, caller: Caller, query: Query[T], reply: Reply[T]) -> Reply[T]:
        """An answer without what its caller may not see."""
        rule = READS[type(query)]
        caller = self._acting(caller, query)
        authorizer = caller.authorizer
        if authorizer.management or rule.sees_all(authorizer):
            return reply
        value: Any = reply.value
        if rule.keep is not None:
            keep = rule.keep
            kept: Any = tuple([item for item in value if keep(authorizer, query, item)])
            removed = len(kept) < len(value)
        elif rule.shape is not None:
            kept, removed = rule.shape(authorizer, query, value)
        else:
            return reply
        return self._without(caller, reply, kept, removed=removed)

    def _without(self, caller: Caller, reply: Reply[T], kept: Any, *, removed: bool) -> Reply[T]:
        if not removed:
            return reply if kept is reply.value else replace(reply, value=kept, whole=False)
        if self._dry_run:
            self.stats.dry_run_allowed += 1
            log.warning("dry run: an answer would be filtered accessor=%s", caller.accessor)
            return reply
        self.stats.filtered += 1
        # Nobody learns without a token that there is something to be seen with one.
        return replace(reply, value=kept, filtered=not caller.anonymous, whole=False)

    async def _sliced(
        self, caller: Caller, query: Query[T], rule: ReadRule, reply: Reply[T]
    ) -> Reply[T]:
        items: Any = reply.value
        kept: list[Any] = []
        keep, authorizer = rule.keep, caller.authorizer
        assert keep is not None, "only lists are looked at in slices"
        for start in range(0, len(items), SLICE_ITEMS):
            batch = items[start : start + SLICE_ITEMS]
            kept += [item for item in batch if keep(authorizer, query, item)]
            await asyncio.sleep(0)
        removed = len(kept) < len(items)
        return self._without(caller, reply, tuple(kept), removed=removed)

    def _acting(self, caller: Caller, query: Query[Any]) -> Caller:
        """Who looks at an answer: the token of a prepared query, for what that query finds.

        Whoever knows a query's name may carry it out, so nothing is given away by it; for anything
        that it does not find the caller's own rights count. Raises TokenNotFound where the
        query's token is none any more.
        """
        if not isinstance(query, HealthService | CoordinatesOf) or not query.by_query:
            return caller
        try:
            _, meant = run(resolution(query.by_query), self.peek)
        except (QueryNotFound, QueryRefused):
            return caller
        if not meant.token or not self._finds(meant, query):
            return caller
        found = self._resolver.now(meant.token)
        if found is None:
            raise TokenNotFound
        return found

    def _finds(self, meant: Definition, query: HealthService | CoordinatesOf) -> bool:
        service = ServiceName(meant.service.service)
        if isinstance(query, HealthService):
            return query.service == service
        entries = (
            entry
            for connect in (False, True)
            for entry in self.peek(HealthService(service=service, connect=connect)) or ()
        )
        nodes = {entry.node.name.lower() for entry in entries}
        return all(node.lower() in nodes for node in query.nodes)

    # -- changes ---------------------------------------------------------------------------------

    async def change(
        self,
        caller: Caller,
        command: Command,
        *,
        actor: Actor | None = None,
        timeout_s: float | None = None,
    ) -> Outcome:
        """Carry out a command on somebody's behalf. Raises Denied.

        A transaction with steps that are denied is answered as one that failed.
        """
        if type(command) is Transaction:
            return await self._transaction(caller, command, actor, timeout_s)
        self.may_change(caller, command)
        return await self._state.change(command, actor=actor, timeout_s=timeout_s)

    def may_change(self, caller: Caller, command: Command) -> None:
        """Check a command's needs. Raises Denied, RequestError."""
        if caller.authorizer.management:
            self.stats.allowed += 1
            return
        for needs in self._answered(WRITES[type(command)](command)):
            self.require(caller, *needs)

    def _answered(self, asking: Asking) -> tuple[tuple[Need, ...], ...]:
        """Give a line the answers it asks for."""
        try:
            query = next(asking)
            while True:
                found = self._state.peek(query)
                # Without a state there is nothing to change either.
                empty = queries.NodeServicesAnswer(None, ())
                query = asking.send(
                    found.value
                    if found is not None
                    else empty
                    if isinstance(query, queries.NodeServices)
                    else ()
                    if isinstance(query, queries.NodeChecks)
                    else None
                )
        except StopIteration as done:
            needs: tuple[tuple[Need, ...], ...] = done.value
            return needs

    async def _transaction(
        self,
        caller: Caller,
        command: Transaction,
        actor: Actor | None,
        timeout_s: float | None,
    ) -> Outcome:
        errors = self.refused_steps(caller, command)
        if errors:
            return Applied(0, wire.codec_for(TxnAnswer).encode(TxnAnswer(errors=errors)))
        outcome = await self._state.change(command, actor=actor, timeout_s=timeout_s)
        if caller.authorizer.management or not isinstance(outcome, Applied):
            return outcome
        answer = wire.decode_txn_answer(outcome.value)
        kept = await _visible(caller.authorizer, answer.results)
        if len(kept) == len(answer.results) or self._dry_run:
            return outcome
        self.stats.filtered += 1
        return replace(
            outcome, value=wire.codec_for(TxnAnswer).encode(replace(answer, results=kept))
        )

    def refused_steps(
        self, caller: Caller, command: Transaction | ReadTransaction
    ) -> tuple[TxnError, ...]:
        """The steps of a transaction that are denied."""
        if caller.authorizer.management:
            return ()
        errors: list[TxnError] = []
        for at, operation in enumerate(command.operations):
            try:
                for needs in self._answered(operation_needs(operation)):
                    self.require(caller, *needs)
            except Denied as denied:
                errors.append(TxnError(at, denied.text))
        return tuple(errors)

    def _about_oneself(self, caller: Caller, query: Query[Any]) -> bool:
        """Whoever shows a secret may see the token behind it, and what that links to."""
        if not isinstance(query, ACLTokenBySecret | GetACLPolicy | GetACLRole):
            return False
        own = ACLTokenBySecret(secret_hash(caller.secret or ANONYMOUS_SECRET))
        if isinstance(query, ACLTokenBySecret):
            return query == own
        token = self.peek(own)
        if token is None or not query.id:
            return False
        if isinstance(query, GetACLRole):
            return query.id in token.roles
        roles = [self.peek(GetACLRole(each)) for each in token.roles]
        return query.id in token.policies or any(query.id in r.policies for r in roles if r)


async def _visible(authorizer: Authorizer, results: tuple[TxnResult, ...]) -> tuple[TxnResult, ...]:
    """The results of a transaction that may be seen, looked at in slices."""
    kept: list[TxnResult] = []
    for start in range(0, len(results), SLICE_ITEMS):
        if start:
            await asyncio.sleep(0)
        kept += visible_results(authorizer, results[start : start + SLICE_ITEMS])
    return tuple(kept)
