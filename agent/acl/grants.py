"""Which policies a token has in a datacenter, and the authorizer that they make together.

A token's policies, those of its roles, and the rules of identities and templated policies. Parsed
rules and authorizers are kept: ten thousand tokens of a thousand policies share them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from agent.acl.authorizer import Authorizer
from agent.acl.builtin import (
    BUILTIN_POLICIES,
    GLOBAL_MANAGEMENT_ID,
    TEMPLATES,
    node_identity_rules,
    service_identity_rules,
)
from agent.acl.rules import Rule, RulesError, parse_rules
from raftstore.definitions import ACLPolicy, ACLRole, ACLToken
from raftstore.records import Json

T = TypeVar("T")

#: Policies whose parsed rules are kept, and authorizers; the oldest make room.
PARSED_MAX = 8192
AUTHORIZERS_MAX = 8192

_MANAGEMENT = BUILTIN_POLICIES[GLOBAL_MANAGEMENT_ID]


@dataclass(frozen=True, slots=True)
class Grant:
    """Rules that a token has, and where from."""

    name: str
    rules: str


@dataclass(frozen=True, slots=True)
class ResolvedToken:
    """What a server tells of a token: all but its secret."""

    accessor: str
    grants: tuple[Grant, ...]
    default_allow: bool
    expires_at: float | None = None


def grants(
    token: ACLToken,
    *,
    policy: Callable[[str], ACLPolicy | None],
    role: Callable[[str], ACLRole | None],
    datacenter: str,
) -> tuple[Grant, ...]:
    """What a token has here. ``policy`` and ``role`` find them by id; those gone give nothing."""
    holders: list[tuple[tuple[str, ...], Json]] = [(token.policies, token.content)]
    for role_id in token.roles:
        found = role(role_id)
        if found is not None:
            holders.append((found.policies, found.content))
    collected: dict[Grant, None] = {}
    for policies, content in holders:
        for policy_id in policies:
            kept = policy(policy_id)
            if kept is not None and _holds_in(datacenter, fields(kept.content)):
                grant = Grant(kept.name, str(fields(kept.content).get("Rules", "")))
                collected[grant] = None
        collected.update(dict.fromkeys(_identities(fields(content), datacenter)))
    return tuple(collected)


def fields(content: Json) -> Mapping[str, Any]:
    """The content of a definition as an object."""
    return content if isinstance(content, dict) else {}


def _holds_in(datacenter: str, found: Mapping[str, Any]) -> bool:
    wanted = found.get("Datacenters") or ()
    return not wanted or datacenter in wanted


def _identities(content: Mapping[str, Any], datacenter: str) -> Iterator[Grant]:
    for each in content.get("ServiceIdentities") or ():
        if _holds_in(datacenter, each):
            name = each["ServiceName"]
            yield Grant(f"service identity {name}", service_identity_rules(name))
    for each in content.get("NodeIdentities") or ():
        if each["Datacenter"] == datacenter:
            name = each["NodeName"]
            yield Grant(f"node identity {name}", node_identity_rules(name))
    for each in content.get("TemplatedPolicies") or ():
        template = TEMPLATES.get(each["TemplateName"])
        if template is not None and _holds_in(datacenter, each):
            name = (each.get("TemplateVariables") or {}).get("Name", "")
            shown = f"templated policy {template.name} {name}".rstrip()
            yield Grant(shown, template.rules(name))


class _Kept(Generic[T]):
    """A bounded map; the oldest entry makes room."""

    __slots__ = ("_entries", "_max")

    def __init__(self, entries_max: int) -> None:
        self._entries: dict[Any, T] = {}
        self._max = entries_max

    def get(self, key: Any, make: Callable[[], T]) -> T:
        found = self._entries.get(key)
        if found is None:
            while len(self._entries) >= self._max:
                del self._entries[next(iter(self._entries))]
            found = self._entries[key] = make()
        return found


class Compiler:
    """Makes authorizers of grants, each set of grants once."""

    __slots__ = ("_authorizers", "_default_allow", "_parsed")

    def __init__(self, *, default_allow: bool) -> None:
        self._default_allow = default_allow
        self._parsed: _Kept[tuple[Rule, ...]] = _Kept(PARSED_MAX)
        self._authorizers: _Kept[Authorizer] = _Kept(AUTHORIZERS_MAX)

    def authorizer(self, found: tuple[Grant, ...]) -> Authorizer:
        """What these grants allow together."""
        return self._authorizers.get(found, lambda: self._made(found))

    def _made(self, found: tuple[Grant, ...]) -> Authorizer:
        if len(found) == 1 and found[0].rules == _MANAGEMENT.rules:
            # Nothing can take anything back from it.
            return Authorizer((), default_allow=True, management=True)
        rules = (rule for grant in found for rule in self._parsed.get(grant, lambda: _read(grant)))  # noqa: B023
        return Authorizer(rules, default_allow=self._default_allow)


def _read(grant: Grant) -> tuple[Rule, ...]:
    try:
        return parse_rules(grant.rules, grant.name)
    except RulesError:
        return ()  # written by another version: what cannot be read gives nothing
