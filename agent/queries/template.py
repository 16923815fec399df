"""Templates: one query that answers for all names that begin with its own (http-api contract 14).

Every text below `Service` is interpolated with the name that was asked for. A template is compiled
when it is written, so that one which cannot work is refused then, and again when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from agent.queries.captures import compile_captures
from agent.queries.definition import NAME_PREFIX_MATCH, Definition, ServiceQuery, Target
from agent.queries.interpolation import Interpolated, InterpolationError, Scope
from gossip.patterns import PatternError

#: Texts that are interpolated in one query.
TEXTS_MAX = 1024


class TemplateError(ValueError):
    """The template cannot be compiled, or not be rendered for this name."""


#: What becomes of one text; the path names it in errors.
Turn = Callable[[str, str], str]


class CompiledTemplate:
    """A template that was found to work for its own name."""

    __slots__ = ("_groups", "_query", "_texts")

    def __init__(self, query: Definition) -> None:
        """Raises TemplateError."""
        template = query.template
        if template.type != NAME_PREFIX_MATCH:
            raise TemplateError(f"Bad Template.Type '{template.type}'")
        self._query = query
        self._texts: dict[str, Interpolated] = {}
        _turned(query.service, self._read)
        try:
            self._groups = compile_captures(template.regexp) if template.regexp else None
        except PatternError as error:
            raise TemplateError(f"Bad Regexp: {error}") from None

    def _read(self, path: str, text: str) -> str:
        if len(self._texts) >= TEXTS_MAX:
            raise TemplateError(f"more than {TEXTS_MAX} texts in Service")
        try:
            self._texts[path] = Interpolated(text)
        except InterpolationError as error:
            raise TemplateError(f"Bad format '{text}' in Service{path}: {error}") from None
        return text

    def render(self, name: str, *, segment: str = "") -> Definition:
        """The query that answers for a name. Raises TemplateError."""
        query = self._query
        matches = self._groups.find(name) if self._groups is not None else ()
        begins = name.lower().startswith(query.name.lower())
        scope = Scope(
            variables={
                "name.full": name,
                "name.prefix": query.name,
                "name.suffix": name[len(query.name) :] if begins else name,
                "agent.segment": segment,
            },
            functions={"match": lambda at: matches[at] if 0 <= at < len(matches) else ""},
        )

        def turn(path: str, text: str) -> str:
            try:
                return self._texts[path].render(scope)
            except InterpolationError as error:
                raise TemplateError(
                    f"Bad evaluation for '{text}' in Service{path}: {error}"
                ) from None

        service = _turned(query.service, turn)
        if query.template.remove_empty_tags and service.tags is not None:
            service = replace(service, tags=tuple(tag for tag in service.tags if tag))
        return replace(query, service=service)


def compile_template(query: Definition) -> CompiledTemplate:
    """Compile, and try it for the shortest name it answers for. Raises TemplateError."""
    compiled = CompiledTemplate(query)
    compiled.render(query.name)
    return compiled


def _turned(service: ServiceQuery, turn: Turn) -> ServiceQuery:
    """Every text turned, in place."""
    failover = service.failover
    targets = failover.targets
    return replace(
        service,
        service=turn(".Service", service.service),
        failover=replace(
            failover,
            datacenters=_list(".Failover.Datacenters", failover.datacenters, turn),
            targets=None
            if targets is None
            else tuple(_target(f".Failover.Targets[{n}]", t, turn) for n, t in enumerate(targets)),
        ),
        ignore_check_ids=_list(".IgnoreCheckIDs", service.ignore_check_ids, turn),
        near=turn(".Near", service.near),
        tags=_list(".Tags", service.tags, turn),
        node_meta=_map(".NodeMeta", service.node_meta, turn),
        service_meta=_map(".ServiceMeta", service.service_meta, turn),
    )


def _target(path: str, target: Target, turn: Turn) -> Target:
    return Target(
        datacenter=turn(f"{path}.Datacenter", target.datacenter),
        peer=turn(f"{path}.Peer", target.peer),
    )


def _list(path: str, values: tuple[str, ...] | None, turn: Turn) -> tuple[str, ...] | None:
    if values is None:
        return None
    return tuple(turn(f"{path}[{number}]", value) for number, value in enumerate(values))


def _map(path: str, values: Mapping[str, str] | None, turn: Turn) -> Mapping[str, str] | None:
    if values is None:
        return None
    return {key: turn(f"{path}[{key}]", value) for key, value in values.items()}
