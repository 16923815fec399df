"""Why one service may or may not connect to another, or send it a request.

Runs the very decisions that proxies run (proxy/authz.py, proxy/permissions.py) on the stored
intentions and shows what they saw: the rule that won, its permissions one by one, those that
matched and lost, and what would hold without any.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypedDict

from agent.backend import Backend
from agent.config.schema import AgentConfig
from agent.errors import RequestError
from agent.full_match import full_match
from proxy.authz import DEFAULT_ACL_OFF, DEFAULT_BY_ACL, DEFAULT_BY_POLICY, Decision, Rule, decide
from proxy.jwt import read_wanted, shown
from proxy.permissions import Request, Verdict, fits, permission
from proxy.permissions import decide as decide_request
from raftstore.queries import MatchIntentions
from raftstore.records import Intention, Json


def rules_of(intentions: Iterable[Intention]) -> tuple[Rule, ...]:
    """Stored intentions as the rules that proxies evaluate, order kept."""
    return tuple(
        Rule(
            source=item.source.name,
            destination=item.destination,
            action=item.source.action,
            permissions=len(item.source.permissions),
            precedence=item.source.precedence,
            matches=tuple(permission(one) for one in item.source.permissions),
            providers=read_wanted(item.jwt or {}),
        )
        for item in intentions
    )


class Default(TypedDict):
    """What holds for a connection of which no intention speaks, and in which words."""

    default_allow: bool
    default_reason: str


def default_of(config: AgentConfig) -> Default:
    """As access control has it."""
    acl = config.acl
    reason = DEFAULT_BY_ACL if acl.enabled else DEFAULT_ACL_OFF
    if acl.intention_policy:
        reason = DEFAULT_BY_POLICY
    return Default(default_allow=acl.intentions_allow, default_reason=reason)


async def decision(
    backend: Backend,
    *,
    source: str,
    destination: str,
    default_allow: bool = True,
    default_reason: str = DEFAULT_ACL_OFF,
) -> Decision:
    """What the intentions say about one connection."""
    found = await backend.ask(MatchIntentions("destination", (destination,)))
    return decide(
        rules_of(found.value.get(destination, ())),
        source=source,
        destination=destination,
        default_allow=default_allow,
        default_reason=default_reason,
    )


def intention_explainer(
    backend: Backend,
    *,
    default_allow: bool = True,
    default_reason: str = DEFAULT_ACL_OFF,
    wall: Callable[[], float] = lambda: 0.0,
) -> Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]:
    """The explainer for `/v1/explain/intention/<source>/<destination>`.

    Source and destination may also be given as query parameters. ``wall`` is the time (Unix) by
    which tokens count.
    """

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        source = arguments[0] if arguments else query.get("source", "")
        destination = arguments[1] if len(arguments) > 1 else query.get("destination", "")
        if not source or not destination:
            missing = "source" if not source else "destination"
            raise RequestError(400, f"required query parameter '{missing}' not set")
        answer = await backend.ask(MatchIntentions("destination", (destination,)))
        rules = rules_of(answer.value.get(destination, ()))
        request = request_of(query)
        from agent.explain.tokens import tokens_of  # needs a library of 9 MB

        tokens = await tokens_of(backend, rules, request or Request(), wall)
        verdict = decide_request(
            rules,
            request or Request(),
            source=source,
            destination=destination,
            default_allow=default_allow,
            default_reason=default_reason,
            full_match=full_match,
            tokens=tokens,
        )
        found = verdict.decision
        if request is None:
            found = decide(
                rules,
                source=source,
                destination=destination,
                default_allow=default_allow,
                default_reason=default_reason,
            )
        return {
            "Source": source,
            "Destination": destination,
            "Allowed": found.allowed,
            "Audited": found.audited,
            "Reason": found.reason,
            "Winner": _rule(found.rule) if found.rule is not None else None,
            **({} if request is None else {"Request": _shown_request(request, verdict)}),
            "Losers": [_rule(rule) for rule in found.losers],
            "Default": {"Allowed": default_allow, "Reason": default_reason},
        }

    return explain


def request_of(query: Mapping[str, str]) -> Request | None:
    """The request that is asked about; None when only the connection is."""
    if not any(key in query for key in ("method", "path", "header")):
        return None
    headers: dict[str, str] = {}
    for line in query.get("header", "").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            key = name.strip().lower()
            held = headers.get(key)
            headers[key] = value.strip() if held is None else f"{held},{value.strip()}"
    return Request(
        method=query.get("method") or "GET", target=query.get("path") or "/", headers=headers
    )


def _shown_request(request: Request, verdict: Verdict) -> Json:
    """The request as it was seen, and what each permission of the winner made of it."""
    rule = verdict.decision.rule
    permissions = () if rule is None else rule.matches
    return {
        "Method": request.method,
        "Path": verdict.path or request.target,
        "Permission": verdict.place,
        "Permissions": [
            {
                "Action": one.action,
                "Matches": bool(verdict.path) and fits(one, request, verdict.path, full_match),
                **({"JWT": shown(one.providers)} if one.providers else {}),
            }
            for one in permissions
        ],
    }


def _rule(rule: Rule) -> Json:
    return {
        "Source": rule.source,
        "Destination": rule.destination,
        "Action": rule.action,
        "Permissions": rule.permissions,
        "Precedence": rule.precedence,
        **({"JWT": shown(rule.providers)} if rule.providers else {}),
    }
