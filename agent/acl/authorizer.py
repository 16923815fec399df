"""What a token may do: its policies' rules merged once, then asked by resource, name and verb.

Precedence (contract 19): rules of the same name and kind are merged, deny before write before list
before read; an exact rule wins over prefixes, the longest prefix over shorter ones; where no rule
speaks the default decides. Every decision can name the rule that made it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from agent.acl.rules import LEVELS, RESOURCES, Level, Rule

READ: Final = Level.READ
LIST: Final = Level.LIST
WRITE: Final = Level.WRITE
#: The verbs that can be asked about.
VERBS: Mapping[str, Level] = {"read": READ, "list": LIST, "write": WRITE}

#: Resources whose rules stand in for others that are not there.
_FALLBACK = {"mesh": "operator", "peering": "operator"}
#: What an allowing default does not include.
_NEVER_BY_DEFAULT = frozenset({"acl"})


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, and the rule that says so; None where the default does."""

    allowed: bool
    rule: Rule | None
    default: str

    @property
    def reason(self) -> str:
        """For people."""
        if self.rule is not None:
            return f"rule {self.rule}"
        return f"no rule matches; the default is {self.default}"


#: Levels of exact names; the lengths of the prefixes, longest first; levels of the prefixes.
_Decider = tuple[Mapping[str, Level], tuple[int, ...], Mapping[str, Level]]
_NO_LEVELS: Mapping[str, Level] = {}
#: The lengths of prefixes are the same for most tokens: each tuple of them is there once.
_LENGTHS: dict[tuple[int, ...], tuple[int, ...]] = {}
_LENGTHS_MAX = 1024


class _Table:
    """The merged rules of one resource."""

    __slots__ = ("exact", "lengths", "prefixes")

    def __init__(self) -> None:
        self.exact: dict[str, Rule] = {}
        self.prefixes: dict[str, Rule] = {}
        #: Lengths of the prefixes, longest first: a look-up for each instead of one for each rule.
        self.lengths: tuple[int, ...] = ()

    def add(self, rule: Rule) -> None:
        held = self.prefixes if rule.prefix else self.exact
        other = held.get(rule.name)
        if other is None or _wins(rule.level, other.level):
            held[sys.intern(rule.name)] = rule

    def decider(self) -> _Decider:
        """What decides, apart from what explains: thousands of tokens take turns, so the less has
        to be looked at for one, the more of it is in the processor's cache."""
        if len(_LENGTHS) >= _LENGTHS_MAX:
            _LENGTHS.clear()
        lengths = tuple(sorted({len(prefix) for prefix in self.prefixes}, reverse=True))
        self.lengths = _LENGTHS.setdefault(lengths, lengths)
        exact = {name: rule.level for name, rule in self.exact.items()}
        prefixes = {name: rule.level for name, rule in self.prefixes.items()}
        return exact or _NO_LEVELS, self.lengths, prefixes or _NO_LEVELS

    def prefix_rule(self, name: str) -> Rule | None:
        for length in self.lengths:
            if length <= len(name):
                rule = self.prefixes.get(name[:length])
                if rule is not None:
                    return rule
        return None

    def find(self, name: str) -> Rule | None:
        rule = self.exact.get(name)
        return self.prefix_rule(name) if rule is None else rule

    def all(self) -> Iterable[Rule]:
        yield from self.exact.values()
        yield from self.prefixes.values()


#: Of all resources that no rule speaks of.
_EMPTY = _Table()


def _wins(level: Level, other: Level) -> bool:
    """Of two rules for the same: deny, then the one that gives more."""
    return other is not Level.DENY and (level is Level.DENY or level > other)


class Authorizer:
    """The rules of a token, ready to be asked. Immutable; shared by tokens with equal policies."""

    __slots__ = ("_all", "_deciders", "_tables", "default_allow", "management", "unnamed")

    def __init__(
        self, rules: Iterable[Rule], *, default_allow: bool, management: bool = False
    ) -> None:
        """``management`` allows everything, whatever the rules say."""
        self.default_allow = default_allow
        self.management = management
        #: Stands for these rights where nobody has shown a token (``Caller.rights``).
        self.unnamed = object()
        self._all: dict[tuple[str, Level], bool] = {}
        # Most tokens speak of a few resources, and there are thousands of tokens.
        self._tables = dict.fromkeys(RESOURCES, _EMPTY)
        for rule in rules:
            self._own(rule.resource).add(rule)
        self._derive_intentions()
        self._deciders = {
            resource: table.decider()
            for resource, table in self._tables.items()
            if table is not _EMPTY
        }

    def _own(self, resource: str) -> _Table:
        table = self._tables[resource]
        if table is _EMPTY:
            table = self._tables[resource] = _Table()
        return table

    def _derive_intentions(self) -> None:
        """Whoever may see a service may see its intentions, unless a rule speaks of these."""
        services = tuple(self._tables["service"].all())
        if not services:
            return
        intentions = self._own("intention")
        for rule in services:
            held = intentions.prefixes if rule.prefix else intentions.exact
            level = Level.DENY if rule.level is Level.DENY else Level.READ
            held.setdefault(
                rule.name, Rule("intention", rule.name, rule.prefix, level, rule.policy)
            )

    def rule_for(self, resource: str, name: str = "") -> Rule | None:
        """The rule that decides about a name, None where there is none."""
        rule = self._tables[resource].find(name)
        if rule is None and resource in _FALLBACK:
            return self._tables[_FALLBACK[resource]].find("")
        return rule

    def matching(self, resource: str, name: str) -> list[Rule]:
        """Every rule that speaks of a name, the one that decides first."""
        if resource not in self._tables:
            return []
        table = self._tables[resource]
        found = [rule for rule in (table.exact.get(name),) if rule is not None]
        prefixes = [rule for rule in table.prefixes.values() if name.startswith(rule.name)]
        return found + sorted(prefixes, key=lambda rule: -len(rule.name))

    def allows(self, resource: str, verb: Level, name: str = "") -> bool:
        """Whether something is allowed. Everything passes here: so it is all in one place."""
        if self.management:
            return True
        if name == "*" and resource == "intention":
            return self._any_service(verb).allowed
        decider = self._deciders.get(resource)
        if decider is not None:
            exact, lengths, prefixes = decider
            level = exact.get(name)
            if level is None:
                # A name that is shorter than a length is looked up whole: no longer prefix fits it.
                for length in lengths:
                    level = prefixes.get(name[:length])
                    if level is not None:
                        break
            if level is not None:
                return level >= verb
        if resource in _FALLBACK:
            rule = self.rule_for(resource, name)
            if rule is not None:
                return rule.level >= verb
        return self.default_allow and resource not in _NEVER_BY_DEFAULT

    def decide(self, resource: str, verb: Level, name: str = "") -> Decision:
        """The same with its reason."""
        if self.management:
            return Decision(True, None, "management: everything is allowed")
        if name == "*" and resource == "intention":
            return self._any_service(verb)
        rule = self.rule_for(resource, name)
        if rule is not None:
            return Decision(rule.level >= verb, rule, self._default(resource))
        return self._by_default(resource)

    def _default(self, resource: str) -> str:
        allowed = self.default_allow and resource not in _NEVER_BY_DEFAULT
        return "allow" if allowed else "deny"

    def _by_default(self, resource: str) -> Decision:
        default = self._default(resource)
        return Decision(default == "allow", None, default)

    def _any_service(self, verb: Level) -> Decision:
        """Intentions of the service "*": read with any rule that gives it, write only if every
        name's rule does, and the default or a rule for all names."""
        table = self._tables["intention"]
        default = self._default("intention")
        if verb is READ:
            for rule in table.all():
                if rule.level >= READ:
                    return Decision(True, rule, default)
            root = table.prefixes.get("")
            return Decision(False, root, default) if root else self._by_default("intention")
        for rule in table.all():
            if rule.level < verb:
                return Decision(False, rule, default)
        root = table.prefixes.get("")
        return Decision(True, root, default) if root else self._by_default("intention")

    def may_write_below(self, prefix: str) -> Decision:
        """Whether every key with this prefix may be written."""
        if self.management:
            return Decision(True, None, "management: everything is allowed")
        table, default = self._tables["key"], self._default("key")
        above = table.prefix_rule(prefix)
        if above is not None and above.level < WRITE:
            return Decision(False, above, default)
        for rule in table.all():
            if rule.level < WRITE and rule.name.startswith(prefix):
                return Decision(False, rule, default)
        return Decision(True, above, default) if above else self._by_default("key")

    def allows_any(self, resource: str, verb: Level) -> bool:
        """Whether something is allowed for at least one name."""
        if self.management:
            return True
        if any(rule.level >= verb for rule in self._tables[resource].all()):
            return True
        root = self._tables[resource].prefixes.get("")
        return root is None and self._by_default(resource).allowed

    def allows_all(self, resource: str, verb: Level) -> bool:
        """Whether something is allowed for every name."""
        if self.management:
            return True
        found = self._all.get((resource, verb))
        if found is None:
            found = self._all[resource, verb] = self._allows_all(resource, verb)
        return found

    def _allows_all(self, resource: str, verb: Level) -> bool:
        if any(rule.level < verb for rule in self._tables[resource].all()):
            return False
        root = self._tables[resource].prefixes.get("")
        return root is not None or self._by_default(resource).allowed


def level_of(word: str) -> Level | None:
    """A verb's word; None for what is none."""
    level = LEVELS.get(word)
    return None if level is Level.DENY else level


#: Everything is allowed: with access control off, and for what an agent does by itself.
MANAGE_ALL = Authorizer((), default_allow=True, management=True)
