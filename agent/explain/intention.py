"""Why one service may or may not connect to another.

Runs the very decision that proxies run (proxy/authz.py) on the stored intentions and shows what it
saw: the rule that won, those that matched and lost, and what would hold without any.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from agent.backend import Backend
from agent.errors import RequestError
from proxy.authz import DEFAULT_ACL_OFF, Decision, Rule, decide
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
        )
        for item in intentions
    )


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
    backend: Backend, *, default_allow: bool = True, default_reason: str = DEFAULT_ACL_OFF
) -> Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]:
    """The explainer for `/v1/explain/intention/<source>/<destination>`.

    Source and destination may also be given as query parameters.
    """

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        source = arguments[0] if arguments else query.get("source", "")
        destination = arguments[1] if len(arguments) > 1 else query.get("destination", "")
        if not source or not destination:
            missing = "source" if not source else "destination"
            raise RequestError(400, f"required query parameter '{missing}' not set")
        found = await decision(
            backend,
            source=source,
            destination=destination,
            default_allow=default_allow,
            default_reason=default_reason,
        )
        return {
            "Source": source,
            "Destination": destination,
            "Allowed": found.allowed,
            "Reason": found.reason,
            "Winner": _rule(found.rule) if found.rule is not None else None,
            "Losers": [_rule(rule) for rule in found.losers],
            "Default": {"Allowed": default_allow, "Reason": default_reason},
        }

    return explain


def _rule(rule: Rule) -> Json:
    return {
        "Source": rule.source,
        "Destination": rule.destination,
        "Action": rule.action,
        "Permissions": rule.permissions,
        "Precedence": rule.precedence,
    }
