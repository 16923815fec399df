"""A user event as a value: its form in gossip, what a valid one is, whom it concerns.

In gossip it is a Serf user event named `consul:event:NAME` whose payload is a msgpack map with
Consul's short keys, so that agents of both kinds in one ring understand each other's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import msgpack

from agent.errors import RequestError
from gossip.patterns import PatternError, compile_pattern

#: What names of these events begin with in gossip; names without are other programs'.
PREFIX = "consul:event:"
#: The newest form of the payload that is understood here.
VERSION = 1
#: Events of this name ask agents to run commands, and are for nobody else.
REMOTE_EXEC = "_rexec"


class EventError(ValueError):
    """A payload from gossip is no event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserEvent:
    """One event. ``ltime`` is the ring's Lamport time, 0 where it was just fired."""

    id: str
    name: str
    payload: bytes = b""
    node_filter: str = ""
    service_filter: str = ""
    tag_filter: str = ""
    version: int = VERSION
    ltime: int = 0

    @property
    def index(self) -> int:
        """What a list that ends with this event is told apart by: the id's halves, xored."""
        digits = self.id.replace("-", "")
        try:
            return int(digits[:16] or "0", 16) ^ int(digits[16:32] or "0", 16)
        except ValueError:
            return 0


class ServiceHere(Protocol):
    """What a filter looks at in a service registered on this host."""

    @property
    def name(self) -> str: ...
    @property
    def tags(self) -> Iterable[str] | None: ...


def validated(event: UserEvent) -> UserEvent:
    """The event, if it can be fired. Raises RequestError in Consul's words."""
    if event.tag_filter and not event.service_filter:
        raise RequestError(500, "Cannot provide tag filter without service filter")
    filters = (
        ("node", event.node_filter),
        ("service", event.service_filter),
        ("tag", event.tag_filter),
    )
    for what, pattern in filters:
        try:
            compile_pattern(pattern)
        except PatternError as error:
            raise RequestError(500, f"Invalid {what} filter: {error}") from None
    return event


def encode(event: UserEvent) -> bytes:
    """For gossip: keys in byte order, strings and bytes of one family, empty filters left out."""
    body: dict[str, Any] = {"ID": event.id, "n": event.name}
    if event.node_filter:
        body["nf"] = event.node_filter
    if event.payload:
        body["p"] = event.payload
    if event.service_filter:
        body["sf"] = event.service_filter
    if event.tag_filter:
        body["tf"] = event.tag_filter
    body["v"] = event.version
    packed: bytes = msgpack.packb(body, use_bin_type=False)
    return packed


def decode(data: bytes, ltime: int) -> UserEvent:
    """From gossip. Raises EventError; keys that are not known are skipped."""
    try:
        body = msgpack.unpackb(data, raw=True, strict_map_key=False)
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise EventError(f"not msgpack: {type(error).__name__}") from error
    if type(body) is not dict:
        raise EventError("not a map")
    version = body.get(b"v") or 0
    if type(version) is not int:
        raise EventError("the version is no number")
    event = UserEvent(
        id=_text(body, b"ID"),
        name=_text(body, b"n"),
        payload=_bytes(body, b"p"),
        node_filter=_text(body, b"nf"),
        service_filter=_text(body, b"sf"),
        tag_filter=_text(body, b"tf"),
        version=version,
        ltime=ltime,
    )
    if not event.name:
        raise EventError("no name")
    return event


def _bytes(body: dict[Any, Any], key: bytes) -> bytes:
    value = body.get(key)
    if value is None:
        return b""
    if type(value) is not bytes:
        raise EventError(f"{key.decode()} is no text")
    return value


def _text(body: dict[Any, Any], key: bytes) -> str:
    return _bytes(body, key).decode("utf-8", "replace")


def why_not(event: UserEvent, node: str, services: Iterable[ServiceHere]) -> str:
    """Why the event does not concern this node, "" when it does.

    Patterns are searched, not matched. A filter of another program that is no pattern here
    concerns nobody.
    """
    try:
        if event.node_filter and not compile_pattern(event.node_filter).search(node):
            return "node filter"
        if not event.service_filter:
            return ""
        wanted = compile_pattern(event.service_filter)
        tagged = compile_pattern(event.tag_filter) if event.tag_filter else None
    except PatternError:
        return "broken filter"
    here = list(services)
    fitting = {name for name in {service.name for service in here} if wanted.search(name)}
    if not fitting:
        return "service filter"
    if tagged is None:
        return ""
    tags = {tag for service in here if service.name in fitting for tag in service.tags or ()}
    return "" if any(map(tagged.search, tags)) else "tag filter"
