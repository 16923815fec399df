"""The kinds of config entries: their shapes and rules, by name.

A body becomes a ``ConfigEntry`` in three steps, each of which may refuse: decode, normalise, check.
The fourth, whether what other entries stand on still holds, is ``graph.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from raftstore.definitions import ConfigEntry
from raftstore.entries import (
    api_gateways,
    defaults,
    gateways,
    intentions,
    jwt_provider,
    mesh,
    resolver,
    router,
    splitter,
)
from raftstore.entries.shape import Shape, Undecodable, read, show, text, text_map
from raftstore.records import Json

SERVICE_INTENTIONS = "service-intentions"
SERVICE_DEFAULTS = "service-defaults"
PROXY_DEFAULTS = "proxy-defaults"
ROUTER = "service-router"
SPLITTER = "service-splitter"
RESOLVER = "service-resolver"
INGRESS = "ingress-gateway"
TERMINATING = "terminating-gateway"
MESH = "mesh"
JWT_PROVIDER = "jwt-provider"
INLINE_CERTIFICATE = api_gateways.CERTIFICATE_KINDS[0]

Content = Mapping[str, Any]


def _as_it_is(_name: str, content: Content) -> dict[str, Any]:
    return dict(content)


def _no_names(_name: str, _content: Content) -> Iterable[str]:
    return ()


def _no_warnings(_content: Content) -> list[str]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRules:
    """One kind. ``fixed_name`` is the only name an entry of it has; ``nameless`` does not show it.

    ``names`` are the services that an entry stands on.
    """

    shape: Shape
    check: Callable[[str, Content, Mapping[str, str] | None], None]
    normalise: Callable[[str, Content], dict[str, Any]] = _as_it_is
    names: Callable[[str, Content], Iterable[str]] = _no_names
    warnings: Callable[[Content], list[str]] = _no_warnings
    fixed_name: str = ""
    nameless: bool = False


KINDS: Mapping[str, KindRules] = {
    PROXY_DEFAULTS: KindRules(
        shape=defaults.PROXY, check=defaults.check_proxy, fixed_name=defaults.GLOBAL
    ),
    SERVICE_DEFAULTS: KindRules(
        shape=defaults.SERVICE,
        check=defaults.check_service,
        normalise=defaults.normalise_service,
    ),
    ROUTER: KindRules(
        shape=router.SHAPE,
        check=router.check,
        normalise=router.normalise,
        names=router.names,
        warnings=router.warnings,
    ),
    SPLITTER: KindRules(
        shape=splitter.SHAPE,
        check=splitter.check,
        normalise=splitter.normalise,
        names=splitter.names,
    ),
    RESOLVER: KindRules(shape=resolver.SHAPE, check=resolver.check, names=resolver.names),
    SERVICE_INTENTIONS: KindRules(
        shape=intentions.SHAPE,
        check=intentions.check,
        normalise=intentions.normalise,
    ),
    INGRESS: KindRules(
        shape=gateways.INGRESS,
        check=gateways.check_ingress,
        normalise=gateways.normalise_ingress,
        names=gateways.ingress_names,
    ),
    TERMINATING: KindRules(
        shape=gateways.TERMINATING,
        check=gateways.check_terminating,
        warnings=gateways.terminating_warnings,
    ),
    MESH: KindRules(shape=mesh.SHAPE, check=mesh.check, fixed_name=mesh.MESH_NAME, nameless=True),
    "exported-services": KindRules(shape=mesh.EXPORTED, check=mesh.check_exported),
    JWT_PROVIDER: KindRules(
        shape=jwt_provider.SHAPE,
        check=jwt_provider.check,
        normalise=jwt_provider.normalise,
    ),
    "control-plane-request-limit": KindRules(
        shape=mesh.REQUEST_LIMIT, check=mesh.check_request_limit
    ),
    api_gateways.GATEWAY: KindRules(
        shape=api_gateways.GATEWAY_SHAPE,
        check=api_gateways.check_gateway,
        normalise=api_gateways.normalise_gateway,
    ),
    "bound-api-gateway": KindRules(shape=api_gateways.BOUND_SHAPE, check=api_gateways.check_bound),
    api_gateways.HTTP_ROUTE: KindRules(
        shape=api_gateways.HTTP_ROUTE_SHAPE,
        check=api_gateways.check_http_route,
        normalise=api_gateways.normalise_http_route,
    ),
    api_gateways.TCP_ROUTE: KindRules(
        shape=api_gateways.TCP_ROUTE_SHAPE,
        check=api_gateways.check_tcp_route,
        normalise=api_gateways.normalise_tcp_route,
    ),
    INLINE_CERTIFICATE: KindRules(shape=api_gateways.INLINE_SHAPE, check=api_gateways.check_inline),
    "file-system-certificate": KindRules(
        shape=api_gateways.FILE_SHAPE, check=api_gateways.check_file
    ),
    "sameness-group": KindRules(
        shape=api_gateways.SAMENESS_SHAPE, check=api_gateways.check_sameness
    ),
}

_HEAD = (text("Kind", always=True), text("Name", always=True))
_META = text_map("Meta")
_WHOLE = {
    kind: Shape((*(_HEAD[:1] if rules.nameless else _HEAD), *rules.shape.fields, _META))
    for kind, rules in KINDS.items()
}


def bad_kind(kind: str) -> str:
    """What is said of a kind that there is not."""
    return f"invalid config entry kind: {kind}"


def decode(body: Json) -> ConfigEntry:
    """A body, as JSON or HCL gave it, as a normalised entry. Raises Undecodable."""
    given = body if isinstance(body, dict) else {}
    kind = given.get("Kind", given.get("kind"))
    if kind is None and "Kind" not in given and "kind" not in given:
        raise Undecodable("Payload does not contain a kind/Kind key at the top level")
    if not isinstance(kind, str):
        raise Undecodable("Kind value in payload is not a string")
    rules = KINDS.get(kind)
    if rules is None:
        raise Undecodable(bad_kind(kind))
    found = read(_WHOLE[kind], given)
    found.pop("Kind", None)
    meta = found.pop("Meta", None)
    name = found.pop("Name", "")
    return normalised(
        ConfigEntry(kind=kind, name=rules.fixed_name or name, content=found, meta=meta)
    )


def normalised(entry: ConfigEntry) -> ConfigEntry:
    """An entry of a known kind in its normal form."""
    content = KINDS[entry.kind].normalise(entry.name, entry.content)
    return ConfigEntry(kind=entry.kind, name=entry.name, content=content, meta=entry.meta)


def check(entry: ConfigEntry) -> None:
    """Refuse what no entry of its kind may be. Raises Invalid."""
    KINDS[entry.kind].check(entry.name, entry.content, entry.meta)


def is_canonical(entry: ConfigEntry) -> bool:
    """Whether an entry is of a known kind and has the form that ``decode`` gives."""
    rules = KINDS.get(entry.kind)
    if rules is None or not isinstance(entry.content, dict):
        return False
    if rules.fixed_name and entry.name != rules.fixed_name:
        return False
    try:
        content = read(rules.shape, entry.content)
    except (Undecodable, RecursionError):
        return False
    return bool(rules.normalise(entry.name, content) == entry.content)


def without_secrets(entry: ConfigEntry) -> ConfigEntry:
    """An entry as the history of changes may show it: no private key stands in it."""
    if entry.kind != INLINE_CERTIFICATE or api_gateways.PRIVATE_KEY not in entry.content:
        return entry
    kept = {k: v for k, v in entry.content.items() if k != api_gateways.PRIVATE_KEY}
    return replace(entry, content=kept)


def names_of(entry: ConfigEntry) -> tuple[str, ...]:
    """The services that an entry stands on, each once, in lower case."""
    rules = KINDS.get(entry.kind)
    if rules is None:
        return ()
    return tuple(dict.fromkeys(name.lower() for name in rules.names(entry.name, entry.content)))


def shown(entry: ConfigEntry) -> dict[str, Any]:
    """An entry as clients see it, indexes and all."""
    head = {"Kind": entry.kind, "Name": entry.name}
    content = dict(entry.content)
    if entry.meta:
        content["Meta"] = dict(entry.meta)
    return {
        **show(_WHOLE[entry.kind], {**head, **content}),
        "CreateIndex": entry.create_index,
        "ModifyIndex": entry.modify_index,
    }
