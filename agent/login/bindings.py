"""Binding rules: what a proved identity gets. Pure.

A rule whose selector matches gives one thing, named by its ``BindName`` with ``${value.x}`` filled
in. A rule with a selector that cannot be read matches nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.acl import builtin
from agent.errors import RequestError
from agent.filter_kinds import STRING, STRINGS, Field, Kind
from agent.filters import compile_filter
from agent.login.claims import Identity
from raftstore.definitions import ACLBindingRule

SERVICE, NODE, ROLE, POLICY, TEMPLATE = "service", "node", "role", "policy", "templated-policy"
BIND_TYPES = (SERVICE, NODE, ROLE, POLICY, TEMPLATE)

_VARIABLE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
_NODE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?")
_NODE_NAME_MAX = 256


class BindError(ValueError):
    """A name cannot be computed, or may not be one."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One thing that a login gives: its type and its name, for templates with variables."""

    type: str
    name: str
    variables: Mapping[str, str] | None = None


def bound(rules: Iterable[ACLBindingRule], identity: Identity) -> tuple[Bound, ...]:
    """What the rules give to an identity, in their order, each once. Raises BindError."""
    found: list[Bound] = []
    for rule in rules:
        content = rule.content or {}
        if not matches(content.get("Selector", ""), identity):
            continue
        given = _given(content, identity.variables)
        if given not in found:
            found.append(given)
    return tuple(found)


def matches(selector: str, identity: Identity) -> bool:
    """Whether a selector fits; "" fits everybody, one that cannot be read nobody."""
    if not selector:
        return True
    top = Field(Kind.OBJECT, dict.fromkeys(identity.values, STRING))
    root = Field(
        Kind.OBJECT,
        {
            identity.path: top,
            "list": Field(Kind.OBJECT, dict.fromkeys(identity.lists, STRINGS)),
        },
    )
    try:
        fits = compile_filter(selector, root)
    except RequestError:
        return False
    lists = {name: list(values) for name, values in identity.lists.items()}
    return fits({identity.path: dict(identity.values), "list": lists})


def check_name(bind_type: str, name: str, variables: Iterable[str]) -> None:
    """Could this be a ``BindName``, with these variables? Raises BindError."""
    filled = interpolate(name, dict.fromkeys(variables, "fake"))
    if not may_be_bound(bind_type, filled):
        raise BindError("")


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """The text with ``${name}`` filled in, in lower case; ``$${`` stands for ``${``.

    Raises BindError.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "${"
        name = match[1].strip()
        if name not in variables:
            raise BindError(f"unknown variable accessed: {name}")
        return variables[name].lower()

    filled = _VARIABLE.sub(value, text)
    left = _VARIABLE.sub("", text)
    if "${" in left:
        raise BindError("expected closing brace of ${")
    return filled


def may_be_bound(bind_type: str, name: str) -> bool:
    """Whether a thing of this type may be called so."""
    match bind_type:
        case "service":
            return builtin.is_service_name(name)
        case "node":
            return len(name) <= _NODE_NAME_MAX and _NODE_NAME.fullmatch(name) is not None
        case "templated-policy":
            return name in builtin.TEMPLATES
        case "policy":
            builtins = {policy.name for policy in builtin.BUILTIN_POLICIES.values()}
            return builtin.is_name(name) or name in builtins
        case _:
            return builtin.is_name(name)


def _given(content: Mapping[str, object], variables: Mapping[str, str]) -> Bound:
    bind_type, name = str(content.get("BindType", "")), str(content.get("BindName", ""))
    try:
        filled = interpolate(name, variables)
        given = content.get("BindVars") if bind_type == TEMPLATE else None
        filled_vars = (
            {str(key): interpolate(str(text), variables) for key, text in given.items()}
            if isinstance(given, dict)
            else None
        )
    except BindError as error:
        raise BindError(
            f'cannot compute "{bind_type}" bind name for bind target: {error}'
        ) from None
    if not may_be_bound(bind_type, filled):
        raise BindError(f'computed "{bind_type}" bind name for bind target is invalid: "{filled}"')
    return Bound(bind_type, filled, filled_vars)
