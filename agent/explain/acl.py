"""Why a token may or may not do something, and why requests were denied lately. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.acl.authorizer import VERBS
from agent.acl.caller import Caller, Need
from agent.acl.rules import NAMED, RESOURCES, Level, Rule
from agent.errors import RequestError
from raftstore.records import Json

#: Rules that matched and lost are shown up to so many.
RULES_MAX = 64


def explain_access(caller: Caller, arguments: Sequence[str]) -> Json:
    """Whether a caller has a permission: ``arguments`` are resource, verb and, for what has one, a
    name, which may be in pieces. Raises RequestError for what cannot be asked."""
    resource, verb = arguments[0], _verb(arguments[1:2])
    if resource not in RESOURCES:
        known = ", ".join(RESOURCES)
        raise RequestError(400, f'There is no resource "{resource}". Known: {known}')
    if verb is Level.LIST and resource != "key":
        raise RequestError(400, "only keys are listed")
    name = "/".join(arguments[2:])
    if name and resource not in (*NAMED, "intention"):
        raise RequestError(400, f"{resource} has no names")
    need = Need(resource, verb, name)
    decision = need.decision(caller.authorizer)
    others = [rule for rule in caller.authorizer.matching(resource, name) if rule != decision.rule]
    return {
        "AccessorID": caller.accessor,
        "Permission": str(need),
        "Allowed": decision.allowed,
        "Reason": decision.reason,
        "Rule": None if decision.rule is None else str(decision.rule),
        "Default": decision.default,
        "Outvoted": [str(rule) for rule in _first(others)],
    }


def _verb(words: Sequence[str]) -> Level:
    verb = VERBS.get(words[0]) if words else None
    if verb is None:
        raise RequestError(400, f"a verb is one of {', '.join(VERBS)}")
    return verb


def _first(rules: Iterable[Rule]) -> list[Rule]:
    return list(rules)[:RULES_MAX]


def explain_denials(
    *, enabled: bool, default_policy: str, dry_run: bool, denials: Sequence[str]
) -> Json:
    """What was denied lately on this agent, newest last."""
    return {
        "Enabled": enabled,
        "DefaultPolicy": default_policy,
        "DryRun": dry_run,
        "LastDenials": list(denials),
    }
