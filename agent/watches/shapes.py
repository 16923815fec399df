"""What handlers are given: the answers as Consul's Go client shows them.

Its types know fewer fields than the HTTP answers have, and show what is not there as a zero, or
leave it out. Handlers have been written against that (recorded: `golden/cli/watch`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Shape = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field, and what is shown where the answer has none."""

    name: str
    zero: Any = ""
    #: Left out where it holds nothing.
    optional: bool = False
    #: It is a record or a list of such: an optional one is left out only where it is not there.
    shape: Shape | None = None

    def show(self, item: Any, shown: dict[str, Any]) -> None:
        """Put the field of an answer into what is shown."""
        if self.shape is not None:
            if item is not None or not self.optional:
                shown[self.name] = self.shape(self.zero if item is None else item)
        elif item or not self.optional:
            shown[self.name] = self.zero if item is None else item


def _plain(names: str, zero: Any = "") -> tuple[Field, ...]:
    return tuple(Field(name, zero) for name in names.split())


def _optional(names: str) -> tuple[Field, ...]:
    return tuple(Field(name, optional=True) for name in names.split())


def record(*fields: Field) -> Shape:
    """An object with these fields; nothing stays nothing."""

    def shape(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return None
        shown: dict[str, Any] = {}
        for field in fields:
            field.show(value.get(field.name), shown)
        return shown

    return shape


def each(shape: Shape) -> Shape:
    """A list of such; nothing stays nothing."""
    return lambda value: [shape(item) for item in value] if isinstance(value, list) else None


def as_it_is(value: Any) -> Any:
    """Free data."""
    return value


_INDEXES = _plain("CreateIndex ModifyIndex", 0)
KEY = record(
    Field("Key"), *_plain("CreateIndex ModifyIndex LockIndex Flags", 0), Field("Value", None),
    Field("Session"),
)  # fmt: skip
KEYS = each(KEY)
_NODE = record(
    *_plain("ID Node Address Datacenter"), *_plain("TaggedAddresses Meta", None), *_INDEXES,
)  # fmt: skip
NODES = each(_NODE)
_DEFINITION = record(
    *_plain("Interval Timeout DeregisterCriticalServiceAfter", "0s"), Field("HTTP"),
    Field("Header", None), *_plain("Method Body TLSServerName"), Field("TLSSkipVerify", False),
    *_plain("TCP GRPC"), Field("GRPCUseTLS", False),
    *_optional("TCPUseTLS UDP OSService DisableRedirects"),
)  # fmt: skip
_CHECK = record(
    *_plain("Node CheckID Name Status Notes Output ServiceID ServiceName"),
    Field("ServiceTags", None), Field("Type"), Field("Definition", {}, shape=_DEFINITION),
    *_INDEXES,
)  # fmt: skip
CHECKS = each(_CHECK)
_CONNECT_PROXY = record(
    *_optional(
        "DestinationServiceName DestinationServiceID LocalServiceAddress LocalServicePort "
        "LocalServiceSocketPath Mode TransparentProxy Config Upstreams"
    ),
    Field("MeshGateway", {}, shape=record(*_optional("Mode"))),
    Field("Expose", {}, shape=record(*_optional("Checks Paths"))),
)
SERVICE = record(
    *_optional("Kind"), *_plain("ID Service"), *_plain("Tags Meta", None), Field("Port", 0),
    Field("Address"), *_optional("SocketPath TaggedAddresses"),
    Field("Weights", {"Passing": 0, "Warning": 0}), Field("EnableTagOverride", False),
    *_optional("CreateIndex ModifyIndex ContentHash"),
    Field("Proxy", None, optional=True, shape=_CONNECT_PROXY),
    Field("Connect", None, optional=True, shape=record(*_optional("Native SidecarService"))),
    *_optional("Datacenter"),
)  # fmt: skip
ENTRIES = each(
    record(
        Field("Node", None, shape=_NODE),
        Field("Service", None, shape=SERVICE),
        Field("Checks", None, shape=CHECKS),
    )
)
EVENTS = each(
    record(
        *_plain("ID Name"),
        Field("Payload", None),
        *_plain("NodeFilter ServiceFilter TagFilter"),
        *_plain("Version LTime", 0),
    )
)
ROOTS = record(
    *_plain("ActiveRootID TrustDomain"),
    Field("Roots", None, shape=each(
        record(*_plain("ID Name RootCert"), Field("Active", False), *_INDEXES)
    )),
)  # fmt: skip
LEAF = record(
    *_plain("SerialNumber CertPEM PrivateKeyPEM Service ServiceURI ValidAfter ValidBefore"),
    *_INDEXES,
)


def encoded(value: Any, *, indent: str | None = None) -> str:
    """The JSON that handlers read: with `<`, `>` and `&` escaped as Go does."""
    separators = (",", ": " if indent else ":")
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
    for plain, escape in _ESCAPES:
        text = text.replace(plain, escape)
    return text


#: Outside of strings these never occur in JSON, so replacing them anywhere is right.
_ESCAPES = (
    ("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)  # fmt: skip
