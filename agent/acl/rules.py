"""ACL rules: the text of a policy as values, checked in the words clients know (contract 19).

A rule gives a level on one resource, for one name or for all names with a prefix. Resources and
levels are the contract's; stanzas that it does not name mean nothing, as in the reference.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.acl.hcl_rules import HclError, Item, parse

#: Rules in one policy; more are refused.
RULES_MAX = 10_000


class Level(enum.IntEnum):
    """What a rule gives. A higher one includes the lower ones; DENY gives nothing."""

    DENY = 0
    READ = 1
    LIST = 2
    WRITE = 3


LEVELS: Mapping[str, Level] = {level.name.lower(): level for level in Level}

#: Resources whose rules name something, each also with `_prefix`, in the order they are checked.
NAMED = ("agent", "identity", "key", "node", "service", "session", "event", "query")
#: Resources that are one thing.
SCALARS = ("acl", "keyring", "operator", "mesh", "peering")
#: What decisions are about: the above, and who may say who may connect to a service.
RESOURCES = (*NAMED, *SCALARS, "intention")

#: How the reference names a rule's type and its first field in "Invalid … policy".
_GO = {
    "agent": ("AgentRule", "Node"),
    "identity": ("IdentityRule", "Name"),
    "key": ("KeyRule", "Prefix"),
    "node": ("NodeRule", "Name"),
    "service": ("ServiceRule", "Name"),
    "session": ("SessionRule", "Node"),
    "event": ("EventRule", "Event"),
    "query": ("PreparedQueryRule", "Prefix"),
}
_WITH_INTENTIONS = frozenset({"service", "identity"})


class RulesError(ValueError):
    """The rules cannot be used; the text is for the client."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``name`` is "" for scalars; ``policy`` says where it is from, for explanations."""

    resource: str
    name: str
    prefix: bool
    level: Level
    policy: str = ""

    def __str__(self) -> str:
        level = self.level.name.lower()
        if self.resource in SCALARS:
            shown = f'{self.resource} = "{level}"'
        elif self.resource == "intention":
            kind = "service_prefix" if self.prefix else "service"
            shown = f'{kind} "{self.name}" {{ intentions = "{level}" }}'
        else:
            kind = f"{self.resource}_prefix" if self.prefix else self.resource
            shown = f'{kind} "{self.name}" = "{level}"'
        return f"{shown} (policy {self.policy})" if self.policy else shown


@dataclass(frozen=True, slots=True)
class _Stanza:
    """A rule as written: levels are still words."""

    kind: str
    name: str
    policy: str
    intentions: str = ""


def parse_rules(text: str, policy: str = "") -> tuple[Rule, ...]:
    """The rules of a policy's text, HCL or JSON. Raises RulesError.

    Where a name has several, all of them are given; ``agent.acl.authorizer`` merges.
    """
    if not text:
        return ()
    rules: list[Rule] = []
    stanzas = list(_stanzas(text))
    last = {stanza.kind: stanza for stanza in stanzas}
    for stanza in sorted(stanzas, key=lambda each: _ORDER[each.kind]):
        if stanza.kind in SCALARS and last[stanza.kind] is not stanza:
            continue  # of several assignments in one text the last counts
        if len(rules) >= RULES_MAX:
            raise RulesError(f"a policy has at most {RULES_MAX} rules")
        resource = stanza.kind.removesuffix("_prefix")
        level = _level(stanza.policy, lists=resource == "key")
        if level is None:
            raise _invalid(stanza, "")
        prefix = stanza.kind.endswith("_prefix")
        rules.append(Rule(resource, stanza.name, prefix, level, policy))
        if stanza.intentions:
            level = _level(stanza.intentions, lists=False)
            if level is None:
                raise _invalid(stanza, " intentions")
            if resource == "service":
                rules.append(Rule("intention", stanza.name, prefix, level, policy))
    return tuple(rules)


_ORDER = {
    kind: at
    for at, kind in enumerate(
        (
            "acl",
            *(f"{name}{suffix}" for name in NAMED for suffix in ("", "_prefix")),
            "keyring",
            "operator",
            "mesh",
            "peering",
        )
    )
}


def _level(word: str, *, lists: bool) -> Level | None:
    level = LEVELS.get(word)
    return None if level is Level.LIST and not lists else level


def _invalid(stanza: _Stanza, what: str) -> RulesError:
    if stanza.kind in SCALARS:
        return RulesError(f"Invalid {stanza.kind} policy: {_quoted(stanza.policy)}")
    resource = stanza.kind.removesuffix("_prefix")
    kind, field = _GO[resource]
    fields = f"{field}:{_quoted(stanza.name)}, Policy:{_quoted(stanza.policy)}"
    if resource in _WITH_INTENTIONS:
        fields += f", Intentions:{_quoted(stanza.intentions)}"
    if resource != "agent":
        fields += ", EnterpriseRule:acl.EnterpriseRule{}"
    return RulesError(f"Invalid {stanza.kind}{what} policy: &acl.{kind}{{{fields}}}")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _stanzas(text: str) -> Iterator[_Stanza]:
    if text.lstrip()[:1] == "{":
        try:
            items = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_items)
        except RecursionError:
            raise RulesError("Failed to parse ACL rules: nested too deeply") from None
        except ValueError as error:
            raise RulesError(f"Failed to parse ACL rules: {error}") from None
    else:
        try:
            items = parse(text)
        except HclError as error:
            raise RulesError(f"Failed to parse ACL rules: {error}") from None
    for item in items:
        kind = item.keys[0].lower()
        if kind in SCALARS and len(item.keys) == 1:
            yield _Stanza(kind, "", _word(item.value, kind))
        elif kind in _ORDER and kind not in SCALARS:
            yield from _named(kind, item)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _items(pairs: list[tuple[str, Any]]) -> tuple[Item, ...]:
    """A JSON object as HCL has it: names that repeat add up."""
    return tuple(Item((key,), value) for key, value in pairs)


def _named(kind: str, item: Item) -> Iterator[_Stanza]:
    """`key "a" { … }`, `key { "a" { … } }` and `key = { "a" = { … } }` say the same."""
    values = item.value if isinstance(item.value, list) else [item.value]
    for value in values:
        if not isinstance(value, tuple):
            raise RulesError(f"Failed to parse ACL rules: {kind}: object expected")
        if len(item.keys) == 1:
            for inner in value:
                yield from _named(kind, Item((kind, *inner.keys), inner.value))
            continue
        if len(item.keys) > 2:
            raise RulesError(f"Failed to parse ACL rules: {kind}: one name expected")
        words = {
            inner.keys[0].lower(): _word(inner.value, kind)
            for inner in value
            if inner.keys[0].lower() in {"policy", "intentions"}
        }
        name, policy = item.keys[1], words.get("policy", "")
        intentions = words.get("intentions", "")
        yield _Stanza(kind, name, policy, intentions if _intends(kind) else "")


def _intends(kind: str) -> bool:
    return kind.removesuffix("_prefix") in _WITH_INTENTIONS


def _word(value: Any, kind: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise RulesError(f"Failed to parse ACL rules: {kind}: string expected")
