"""Which intentions would let in what was seen and nothing else (mesh contract B.7).

What was seen is what the sidecars of all agents have counted since they started. The core is
`learned`: it decides by what proxies decide with. Only what was let in is proposed; what was
refused is shown, for somebody to think about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from agent.backend import Backend
from agent.connect.clients import ANY, Counts, Wanted
from agent.durations import DurationError, parse_s
from agent.errors import RequestError
from agent.explain.clients import Found
from agent.explain.intention import rules_of
from proxy.authz import DEFAULT_ACL_OFF, Rule, decide, order
from raftstore.queries import ListIntentions
from raftstore.records import Json

SINCE_DEFAULT = "24h"
#: What is older, no sidecar has kept.
SINCE_MAX_S = 366 * 86_400


def learned(
    rules: Sequence[Rule], counts: Iterable[Counts], *, default_allow: bool, default_reason: str
) -> dict[str, Json]:
    """What to write, what needs no word because it is said already, and what was refused.

    ``rules`` stand in order of precedence.
    """
    totals: dict[tuple[str, str], tuple[int, int, set[str]]] = {}
    for each in counts:
        let_in, refused, nodes = totals.get((each.source, each.destination), (0, 0, set()))
        pair = each.source, each.destination
        totals[pair] = let_in + each.first, refused + each.second, nodes | {each.node}
    exact = {(rule.source, rule.destination) for rule in rules}
    proposed: list[Json] = []
    denied: list[Json] = []
    covered = 0
    for (source, destination), (let_in, refused, nodes) in sorted(totals.items()):
        found = decide(
            rules,
            source=source,
            destination=destination,
            default_allow=default_allow,
        )
        shown = {
            "Source": source,
            "Destination": destination,
            "LetIn": let_in,
            "Refused": refused,
            "Nodes": len(nodes),
            "DecidedBy": default_reason if found.rule is None else str(found.rule),
        }
        if refused:
            denied.append(shown)
        if let_in and (source, destination) in exact:
            covered += 1
        elif let_in:
            proposed.append(shown)
    return {"Proposed": proposed, "Covered": covered, "Refused": denied}


def learner(
    backend: Backend,
    seen: Callable[[Wanted], Awaitable[Found]],
    *,
    default_allow: bool = True,
    default_reason: str = DEFAULT_ACL_OFF,
) -> Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]:
    """The explainer for `/v1/explain/intention-learn?since=`."""

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        if arguments:
            raise RequestError(400, "what was seen is of all services: no names are given")
        since_s = _since_s(query.get("since") or SINCE_DEFAULT)
        rules = order(rules_of((await backend.ask(ListIntentions())).value))
        found = await seen(Wanted(ANY, ANY, since_s))
        return {
            "SinceSeconds": since_s,
            "Asked": found.asked,
            "Heard": found.heard,
            "More": found.more,
            "Error": found.error,
            **learned(
                rules, found.counts, default_allow=default_allow, default_reason=default_reason
            ),
        }

    return explain


def _since_s(text: str) -> int:
    try:
        since_s = parse_s(text)
    except DurationError as error:
        raise RequestError(400, f"Invalid 'since': {error}") from error
    if not 1.0 <= since_s <= SINCE_MAX_S:
        raise RequestError(400, f"'since' must be from 1s to {SINCE_MAX_S // 3600}h")
    return int(since_s)
