"""The slow, obvious model of Consul's precedence rules: written from the documentation, rule by
rule, without any table of ours. Tests ask it what the product must say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ORDER = ("read", "list", "write")


@dataclass(frozen=True)
class Stanza:
    """One stanza of a policy, as a person writes it."""

    kind: str
    name: str
    policy: str
    intentions: str = ""

    def hcl(self) -> str:
        if self.kind in {"acl", "keyring", "operator", "mesh", "peering"}:
            return f'{self.kind} = "{self.policy}"\n'
        more = f' intentions = "{self.intentions}"' if self.intentions else ""
        return f'{self.kind} "{self.name}" {{ policy = "{self.policy}"{more} }}\n'


def merged(levels: Iterable[str]) -> str:
    """What several policies say of the same: deny wins, else the one that gives most."""
    found = list(levels)
    if "deny" in found:
        return "deny"
    return max(found, key=ORDER.index)


def speaks(stanzas: Iterable[Stanza], resource: str, name: str) -> str | None:
    """The level that the rules give for a name, None when no rule speaks of it."""
    if resource in {"acl", "keyring", "operator", "mesh", "peering"}:
        levels = [s.policy for s in stanzas if s.kind == resource]
        return merged(levels) if levels else None
    exact = [s.policy for s in stanzas if s.kind == resource and s.name == name]
    if exact:
        return merged(exact)
    matching = [s for s in stanzas if s.kind == f"{resource}_prefix" and name.startswith(s.name)]
    if not matching:
        return None
    longest = max(len(s.name) for s in matching)
    return merged(s.policy for s in matching if len(s.name) == longest)


def speaks_of_intentions(stanzas: list[Stanza], name: str) -> str | None:
    """Intentions: the service rule's own word, else read for whom may see the service."""

    def level(kind: str, of: str) -> str | None:
        mine = [s for s in stanzas if s.kind == kind and s.name == of]
        said = [s.intentions for s in mine if s.intentions]
        if said:
            return merged(said)
        if not mine:
            return None
        return "deny" if merged(s.policy for s in mine) == "deny" else "read"

    exact = level("service", name)
    if exact is not None:
        return exact
    prefixes = sorted(
        {s.name for s in stanzas if s.kind == "service_prefix" and name.startswith(s.name)},
        key=len,
    )
    return level("service_prefix", prefixes[-1]) if prefixes else None


def allows(stanzas: list[Stanza], default: str, resource: str, verb: str, name: str = "") -> bool:
    """Whether a token with these rules may do it."""
    if resource == "intention":
        level = speaks_of_intentions(stanzas, name)
    else:
        level = speaks(stanzas, resource, name)
    if level is None and resource in {"mesh", "peering"}:
        level = speaks(stanzas, "operator", "")
    if level is None:
        return default == "allow" and resource != "acl"
    return level != "deny" and ORDER.index(level) >= ORDER.index(verb)


def may_write_below(stanzas: list[Stanza], default: str, prefix: str, keys: list[str]) -> bool:
    """Whether every key that could be below the prefix may be written; ``keys`` are examples that
    cover each rule's own place."""
    below = {key for key in keys if key.startswith(prefix)}
    below |= {s.name for s in stanzas if s.kind == "key" and s.name.startswith(prefix)}
    for s in stanzas:
        if s.kind == "key_prefix" and s.name.startswith(prefix):
            below.add(s.name + "\x7f")
    below.add(prefix + "\x7f")
    return all(allows(stanzas, default, "key", "write", key) for key in below)
