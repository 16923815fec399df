"""What setting or deleting one intention would change, for every pair of services that is known.

Nothing is written. The core is `flips`: both sets of rules are decided by what proxies decide with
(proxy/authz.py), so that a plan cannot disagree with what happens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from agent.backend import Backend
from agent.connect.clients import Wanted
from agent.errors import RequestError
from agent.explain.clients import Found
from agent.explain.intention import rules_of
from proxy.authz import ANY, DEFAULT_ACL_OFF, LETTING_IN, Decision, Rule, decide, precedence
from raftstore.queries import ListIntentions, ListServices
from raftstore.records import Json

#: Pairs that one plan lists; it counts them all.
PAIRS_MAX = 1000
DELETE = "delete"
#: Pairs in one step: a millisecond or so.
_STEP = 64
_ACTIONS = (*sorted(LETTING_IN), "deny", DELETE)

#: Rules by source and destination: no two are about one pair.
Rules = Mapping[tuple[str, str], Rule]


@dataclass(frozen=True, slots=True)
class Flip:
    """A pair for which the answer would be another one: allow, audit, deny or requests."""

    source: str
    destination: str
    before: str
    after: str


def planned(rules: Rules, source: str, destination: str, action: str) -> Rules:
    """The rules as they would be."""
    kept = {pair: rule for pair, rule in rules.items() if pair != (source, destination)}
    if action != DELETE:
        kept[source, destination] = Rule(
            source=source,
            destination=destination,
            action=action,
            precedence=precedence(source, destination),
        )
    return kept


def flips(
    before: Rules, after: Rules, sources: Iterable[str], destination: str, *, default_allow: bool
) -> Iterator[Flip]:
    """The sources for which the answer at one destination would change."""
    for source in sources:
        was, will = (
            _answer(rules, source, destination, default_allow=default_allow)
            for rules in (before, after)
        )
        if was != will:
            yield Flip(source, destination, was, will)


def _answer(rules: Rules, source: str, destination: str, *, default_allow: bool) -> str:
    places = ((source, destination), (ANY, destination), (source, ANY), (ANY, ANY))
    found = decide(
        [rules[place] for place in places if place in rules],
        source=source,
        destination=destination,
        default_allow=default_allow,
    )
    return _word(found)


def _word(found: Decision) -> str:
    if found.rule is not None and found.rule.permissions:
        return "requests"
    if found.audited:
        return "audit"
    return "allow" if found.allowed else "deny"


#: How many pairs change, and the first of them.
Changes = tuple[int, list[Flip]]
#: Takes steps between other work; squares of services are many.
Paced = Callable[[Generator[None, None, Changes]], Awaitable[Changes]]


def changes(
    before: Rules,
    after: Rules,
    sources: Sequence[str],
    destinations: Iterable[str],
    *,
    default_allow: bool,
) -> Generator[None, None, Changes]:
    """Every flip, some sources of one destination at a step."""
    count = 0
    listed: list[Flip] = []
    steps = [sources[start : start + _STEP] for start in range(0, len(sources), _STEP)]
    for destination, some in product(destinations, steps):
        for flip in flips(before, after, some, destination, default_allow=default_allow):
            count += 1
            if len(listed) < PAIRS_MAX:
                listed.append(flip)
        yield
    return count, listed


#: What the agents of the ring say to a question.
Live = Callable[[Wanted], Awaitable[Found]]


def ending(before: Rules, after: Rules, found: Found, *, default_allow: bool) -> list[Json]:
    """Which of the connections that stand the change would end, or refuse the requests of."""
    shown: list[Json] = []
    for each in found.counts:
        was, will = (
            _answer(rules, each.source, each.destination, default_allow=default_allow)
            for rules in (before, after)
        )
        if was == will or will in LETTING_IN:
            continue
        shown.append(
            {
                "Source": each.source,
                "Destination": each.destination,
                "Node": each.node,
                "Connections": each.first,
                "HTTPConnections": each.second,
                "After": will,
            }
        )
    return shown


def intention_planner(
    backend: Backend,
    paced: Paced,
    live: Live | None = None,
    *,
    default_allow: bool = True,
    default_reason: str = DEFAULT_ACL_OFF,
) -> Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]:
    """The explainer for `/v1/explain/intention-plan/<source>/<destination>?action=`.

    With ``live`` in the query string the agents are asked for the connections that stand.
    """

    async def explain(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        if len(arguments) != 2:
            raise RequestError(400, "a plan is of a source and a destination")
        source, destination = arguments
        action = query.get("action") or "allow"
        if action not in _ACTIONS:
            raise RequestError(400, f"'action' must be one of {', '.join(_ACTIONS)}")
        for name in arguments:
            if ANY in name and name != ANY:
                raise RequestError(400, f"{name}: a wildcard stands alone")
        stored = rules_of((await backend.ask(ListIntentions())).value)
        services = (await backend.ask(ListServices())).value
        before: Rules = {(rule.source, rule.destination): rule for rule in stored}
        after = planned(before, source, destination, action)
        known = {*services, *(name for pair in before for name in pair)} - {ANY}
        count, listed = await paced(
            changes(
                before,
                after,
                sorted(known) if source == ANY else [source],
                sorted(known) if destination == ANY else [destination],
                default_allow=default_allow,
            )
        )
        held = before.get((source, destination))
        standing: Json = None
        if live is not None and "live" in query:
            found = await live(Wanted(source, destination))
            standing = {
                "Asked": found.asked,
                "Heard": found.heard,
                "More": found.more,
                "Error": found.error,
                "Ending": ending(before, after, found, default_allow=default_allow),
            }
        return {
            "Source": source,
            "Destination": destination,
            "Action": action,
            "Exists": held is not None,
            "Replaces": None if held is None else str(held),
            "Count": count,
            "Changes": [_shown(flip) for flip in listed],
            "Live": standing,
            "Default": {"Allowed": default_allow, "Reason": default_reason},
        }

    return explain


def _shown(flip: Flip) -> Json:
    return {
        "Source": flip.source,
        "Destination": flip.destination,
        "Before": flip.before,
        "After": flip.after,
    }
