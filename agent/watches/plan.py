"""The parameters of a watch -> what to ask for, and for whom (cli-config contract, `watches`).

Error texts are those that Consul's users know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent.durations import DurationError, parse_s
from agent.watches import shapes
from agent.watches.shapes import Shape

#: Seconds that an HTTP handler may take to answer where nothing is set (Consul's).
HTTP_TIMEOUT_S = 10.0
_STATE_ANY = "any"


class WatchError(ValueError):
    """The parameters make no watch; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to ask for. ``path`` is not quoted yet.

    ``by_hash``: it blocks on a hash of the content, all others on an index.
    """

    kind: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    shape: Shape
    datacenter: str = ""
    token: str = ""
    stale: bool = False
    by_hash: bool = False
    #: The one item of the answer's list is meant.
    single: bool = False
    #: An answer of 404 is a value too: null.
    may_be_absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHandler:
    """A request that tells somebody of a change. ``timeout_s`` is for all of it."""

    path: str
    method: str = "POST"
    timeout_s: float = HTTP_TIMEOUT_S
    header: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tls_skip_verify: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptHandler:
    """A program and its arguments, run on each change."""

    args: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A watch of a configuration file."""

    plan: Plan
    handler: HttpHandler | ScriptHandler
    #: The old way to name a script was used.
    deprecated: bool = False


class _Parameters:
    """Takes parameters one by one, so that those nobody wants are left."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._left = dict(given)

    def take(self, name: str) -> Any:
        return self._left.pop(name, None)

    def text(self, name: str) -> str:
        value = self.take(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise WatchError(f"Expecting {name} to be a string")
        return value

    def truth(self, name: str) -> bool:
        value = self.take(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise WatchError(f"Expecting {name} to be a boolean")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.take(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise WatchError(f"Expecting {name} to be a string or list of strings")
        return tuple(value)

    def nothing_left(self) -> None:
        if self._left:
            raise WatchError(f"Invalid parameters: [{' '.join(sorted(self._left))}]")


def parse_plan(given: Mapping[str, Any]) -> Plan:
    """What to ask for; every parameter has to mean something. Raises WatchError."""
    parameters = _Parameters(given)
    plan = _plan(parameters)
    parameters.nothing_left()
    return plan


def parse_watch(given: Mapping[str, Any]) -> Watch:
    """A watch of a configuration file, with its handler. Raises WatchError."""
    parameters = _Parameters(given)
    kind = given.get("type")
    if isinstance(kind, str) and kind.startswith("connect_"):
        raise WatchError(f"Watch type {kind} is not allowed in agent config")
    try:
        handler, deprecated = _handler(parameters)
        plan = _plan(parameters)
        parameters.nothing_left()
    except WatchError as error:
        raise WatchError(f"Failed to parse watch ({_shown(given)}): {error}") from None
    return Watch(plan=plan, handler=handler, deprecated=deprecated)


def _shown(given: Mapping[str, Any]) -> str:
    """A watch in a text: without its token."""
    return ", ".join(f"{k}: {given[k]!r}" for k in sorted(given) if k != "token")


def _plan(parameters: _Parameters) -> Plan:
    kind = parameters.text("type")
    if not kind:
        raise WatchError("Watch type must be defined")
    make = _MAKERS.get(kind)
    if make is None:
        raise WatchError(f"Unsupported watch type: {kind}")
    datacenter, token = parameters.text("datacenter"), parameters.text("token")
    plan = make(parameters, parameters.truth("stale"))
    return replace(plan, kind=kind, datacenter=datacenter, token=token)


def _key(parameters: _Parameters, stale: bool) -> Plan:
    key = parameters.text("key")
    if not key:
        raise WatchError("Must specify a single key to watch")
    return Plan(
        kind="",
        path=f"/v1/kv/{key.lstrip('/')}",
        shape=shapes.KEY,
        stale=stale,
        single=True,
        may_be_absent=True,
    )


def _keyprefix(parameters: _Parameters, stale: bool) -> Plan:
    prefix = parameters.text("prefix")
    if not prefix:
        raise WatchError("Must specify a single prefix to watch")
    return Plan(
        kind="",
        path=f"/v1/kv/{prefix.lstrip('/')}",
        query=(("recurse", ""),),
        shape=shapes.KEYS,
        stale=stale,
        may_be_absent=True,
    )


def _services(parameters: _Parameters, stale: bool) -> Plan:
    return Plan(
        kind="",
        path="/v1/catalog/services",
        query=_filter(parameters),
        shape=shapes.as_it_is,
        stale=stale,
    )


def _nodes(parameters: _Parameters, stale: bool) -> Plan:
    return Plan(
        kind="",
        path="/v1/catalog/nodes",
        query=_filter(parameters),
        shape=shapes.NODES,
        stale=stale,
    )


def _service(parameters: _Parameters, stale: bool) -> Plan:
    name, tags = parameters.text("service"), parameters.texts("tag")
    passing = parameters.truth("passingonly")
    if not name:
        raise WatchError("Must specify a single service to watch")
    query = tuple(("tag", tag) for tag in tags) + ((("passing", "1"),) if passing else ())
    return Plan(
        kind="",
        path=f"/v1/health/service/{name}",
        query=query + _filter(parameters),
        shape=shapes.ENTRIES,
        stale=stale,
    )


def _checks(parameters: _Parameters, stale: bool) -> Plan:
    service, state = parameters.text("service"), parameters.text("state")
    if service and state:
        raise WatchError("Cannot specify service and state")
    where = f"checks/{service}" if service else f"state/{state or _STATE_ANY}"
    return Plan(
        kind="",
        path=f"/v1/health/{where}",
        query=_filter(parameters),
        shape=shapes.CHECKS,
        stale=stale,
    )


def _event(parameters: _Parameters, _stale: bool) -> Plan:
    name = parameters.text("name")
    return Plan(
        kind="",
        path="/v1/event/list",
        query=(("name", name),) if name else (),
        shape=shapes.EVENTS,
    )


def _connect_roots(_parameters: _Parameters, _stale: bool) -> Plan:
    return Plan(kind="", path="/v1/agent/connect/ca/roots", shape=shapes.ROOTS)


def _connect_leaf(parameters: _Parameters, _stale: bool) -> Plan:
    name = parameters.text("service")
    if not name:
        raise WatchError("Must specify a single service to watch")
    return Plan(kind="", path=f"/v1/agent/connect/ca/leaf/{name}", shape=shapes.LEAF)


def _agent_service(parameters: _Parameters, _stale: bool) -> Plan:
    name = parameters.text("service_id")
    if not name:
        raise WatchError("Must specify a single service ID to watch")
    return Plan(kind="", path=f"/v1/agent/service/{name}", shape=shapes.SERVICE, by_hash=True)


_MAKERS = {
    "key": _key,
    "keyprefix": _keyprefix,
    "services": _services,
    "nodes": _nodes,
    "service": _service,
    "checks": _checks,
    "event": _event,
    "connect_roots": _connect_roots,
    "connect_leaf": _connect_leaf,
    "agent_service": _agent_service,
}
#: All types of watches.
KINDS = tuple(_MAKERS)


def _filter(parameters: _Parameters) -> tuple[tuple[str, str], ...]:
    text = parameters.text("filter")
    return (("filter", text),) if text else ()


# -- handlers ------------------------------------------------------------------------------------


def _handler(parameters: _Parameters) -> tuple[HttpHandler | ScriptHandler, bool]:
    """The handler, and whether it is written in the old way."""
    handler_type = parameters.text("handler_type") or "script"
    if handler_type not in {"http", "script"}:
        raise WatchError(f"Handler type '{handler_type}' not recognized")
    line, args = parameters.take("handler"), parameters.take("args")
    if line is not None and not isinstance(line, str):
        raise WatchError("Watch handler must be a string")
    if args is not None and (
        not isinstance(args, list | tuple) or not all(isinstance(word, str) for word in args)
    ):
        raise WatchError("Watch args must be a list of strings")
    if sum((line is not None, args is not None, handler_type == "http")) > 1:
        raise WatchError("Only one watch handler allowed")
    if handler_type == "http":
        config = parameters.take("http_handler_config")
        if config is None:
            raise WatchError("Handler type 'http' requires 'http_handler_config' to be set")
        try:
            return _http_handler(config), False
        except WatchError as error:
            raise WatchError(f"Failed to parse 'http_handler_config': {error}") from None
    if line:
        return ScriptHandler(args=("/bin/sh", "-c", line)), True
    if args:
        return ScriptHandler(args=tuple(args)), False
    raise WatchError("Must define a watch handler")


def _http_handler(config: Any) -> HttpHandler:
    if isinstance(config, list | tuple) and len(config) == 1:
        config = config[0]  # how HCL writes a block
    if not isinstance(config, dict):
        raise WatchError("expected an object")
    parameters = _Parameters(config)
    path, method = parameters.text("path"), parameters.text("method") or "POST"
    if not path:
        raise WatchError("Requires 'path' to be set")
    if not path.startswith(("http://", "https://")):
        raise WatchError(f"unsupported protocol scheme in path: {path}")
    handler = HttpHandler(
        path=path,
        method=method.upper(),
        timeout_s=_timeout_s(parameters.text("timeout")),
        header=_header(parameters.take("header")),
        tls_skip_verify=parameters.truth("tls_skip_verify"),
    )
    parameters.nothing_left()
    return handler


def _timeout_s(text: str) -> float:
    if not text:
        return HTTP_TIMEOUT_S
    try:
        seconds = parse_s(text)
    except DurationError as error:
        raise WatchError(f"Failed to parse timeout: {error}") from None
    if seconds <= 0:
        raise WatchError(f"timeout cannot be {text}. Must be greater than zero")
    return seconds


def _header(given: Any) -> dict[str, tuple[str, ...]]:
    if isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]
    if not given:
        return {}
    if not isinstance(given, dict):
        raise WatchError("Expecting header to be an object")
    inner = _Parameters(given)
    return {name: inner.texts(name) for name in given}
