"""The body of `txn`: operations in, with what no state could take told by operation (contract 4).

Decides which transactions only read. What depends on the stored state is the state machine's to
refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.errors import RequestError
from agent.http.decode import (
    DecodeFailure,
    Shape,
    ignored,
    kind_of,
    load,
    octets,
    string,
    string_map,
    unsigned,
)
from agent.http.parse_catalog import HEALTH_CHECK, NODE_SERVICE, catalog_service
from agent.http.parse_ports import locality
from raftstore.records import (
    Check,
    CheckId,
    Json,
    Node,
    NodeId,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
    TxnCheck,
    TxnError,
    TxnKV,
    TxnNode,
    TxnOperation,
    TxnService,
    TxnSession,
)
from raftstore.thawed import maker_of

#: The verbs that change something. Any other word on a key is looked at by a reader, which refuses
#: those it does not know; on the other things everything but "get" is a writer's.
_make_key = maker_of(TxnKV)
_make_operation = maker_of(TxnOperation)

_KEY_WRITES = frozenset({"set", "cas", "lock", "unlock", "delete", "delete-tree", "delete-cas"})

_KV = Shape(
    "KVTxnOp",
    {
        "Verb": ("verb", string),
        "Key": ("key", string),
        "Value": ("value", octets),
        "Flags": ("flags", unsigned),
        "Index": ("index", unsigned),
        "Session": ("session", string),
        "Namespace": ("namespace", ignored),
        "Partition": ("partition", ignored),
    },
)
_INDEX = {"ModifyIndex": ("modify_index", unsigned)}
#: Fields of Go's client structures that say nothing here.
_UNUSED = {name: (name, ignored) for name in ("Namespace", "Partition", "PeerName")}
_NODE = Shape(
    "Node",
    {
        "ID": ("id", string),
        "Node": ("name", string),
        "Address": ("address", string),
        "Datacenter": ("datacenter", string),
        "TaggedAddresses": ("tagged_addresses", string_map),
        "Locality": ("locality", locality),
        "Meta": ("meta", string_map),
        "CreateIndex": ("create_index", ignored),
        **_INDEX,
        **_UNUSED,
    },
)
_SERVICE = Shape(
    "AgentService",
    {
        **NODE_SERVICE,
        "ContentHash": ("content_hash", ignored),
        "Datacenter": ("datacenter", ignored),
        **_INDEX,
        **_UNUSED,
    },
)
_CHECK = Shape("HealthCheck", {**HEALTH_CHECK, **_INDEX, **_UNUSED})
_SESSION_UNUSED = (
    "Name", "Node", "LockDelay", "Behavior", "TTL", "Checks", "NodeChecks", "ServiceChecks",
    "CreateIndex", "ModifyIndex",
)  # fmt: skip
_SESSION = Shape(
    "Session",
    {"ID": ("id", string), **{name: (name, ignored) for name in _SESSION_UNUSED}, **_UNUSED},
)


def _about(name: str, subject: Shape) -> Shape:
    fields = {"Verb": ("verb", string), name: ("subject", subject.read)}
    if name == "Service":
        fields["Node"] = ("node", string)
    return Shape(f"{name}TxnOp", fields)


OPERATION = Shape(
    "TxnOp",
    {
        "KV": ("kv", _KV.read),
        "Node": ("node", _about("Node", _NODE).read),
        "Service": ("service", _about("Service", _SERVICE).read),
        "Check": ("check", _about("Check", _CHECK).read),
        "Session": ("session", _about("Session", _SESSION).read),
    },
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a transaction may hold: operations, and bytes of one key's value."""

    operations_max: int
    value_bytes_max: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """A transaction. ``errors`` name operations that cannot be tried; then none is."""

    operations: tuple[TxnOperation, ...]
    read_only: bool
    errors: tuple[TxnError, ...] = ()


def transaction(body: bytes, bounds: Bounds, *, datacenter: str) -> Parsed:
    """The body of `txn`. Raises RequestError for what is no transaction."""
    try:
        found = _fields(load(body))
    except DecodeFailure as error:
        raise RequestError(400, f"Failed to parse body: {error}") from None
    if len(found) > bounds.operations_max:
        count = f"{len(found)} > {bounds.operations_max}"
        raise RequestError(413, f"Transaction contains too many operations ({count})")
    operations, errors = [], []
    for number, fields in enumerate(found):
        try:
            operations.append(_operation(fields, bounds, datacenter))
        except _CannotBeTriedError as error:
            errors.append(TxnError(number, str(error)))
    read_only = not errors and not any(map(_writes, operations))
    return Parsed(tuple(operations), read_only, tuple(errors))


def _fields(given: Json) -> list[dict[str, Any]]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise DecodeFailure(
            f"json: cannot unmarshal {kind_of(given)} into Go value of type api.TxnOps"
        )
    return [{} if item is None else OPERATION.read("", item) for item in given]


class _CannotBeTriedError(Exception):
    """One operation is wrong in itself; the text says why."""


def _writes(operation: TxnOperation) -> bool:
    if operation.kv is not None:
        return operation.kv.verb in _KEY_WRITES
    for part in (operation.node, operation.service, operation.check, operation.session):
        if part is not None:
            return part.verb != "get"
    return False


def _operation(fields: Mapping[str, Any], bounds: Bounds, datacenter: str) -> TxnOperation:
    """The first part that is there; with none the operation does nothing."""
    for name, read in _PARTS.items():
        if name in fields:
            return read(fields[name], bounds, datacenter)
    return TxnOperation()


def _key(fields: Mapping[str, Any], bounds: Bounds, _datacenter: str) -> TxnOperation:
    get = fields.get
    verb, key, value = get("verb", ""), get("key", ""), get("value", b"")
    size, limit = len(value), bounds.value_bytes_max
    if size > limit:
        raise RequestError(413, f'Value for key "{key}" is too large ({size} > {limit} bytes)')
    if verb not in _KEY_WRITES:
        value = b""
    kv = _make_key(verb, key, value, get("flags", 0), get("index", 0), get("session", ""))
    return _make_operation(kv, None, None, None, None)


def _node(fields: Mapping[str, Any], _bounds: Bounds, datacenter: str) -> TxnOperation:
    subject = dict(fields.get("subject", {}))
    wanted = subject.pop("datacenter", "") or datacenter
    if wanted.lower() != datacenter.lower():
        raise RequestError(500, "No path to datacenter")
    node_id = NodeId(subject.pop("id", "").lower())
    name = NodeName(subject.pop("name", ""))
    node = Node(name=name, id=node_id, datacenter=datacenter, **subject)
    return TxnOperation(node=TxnNode(fields.get("verb", ""), node))


def _service(fields: Mapping[str, Any], _bounds: Bounds, _datacenter: str) -> TxnOperation:
    verb, node = fields.get("verb", ""), NodeName(fields.get("node", ""))
    subject = dict(fields.get("subject", {}))
    given = subject.get("weights")
    if given is not None and not given.in_range:
        del subject["weights"]  # Go's client always sends them; zeros mean that none were set
    if verb in ("set", "cas"):
        return TxnOperation(service=TxnService(verb, node, _whole(subject, node)))
    service = Service(
        id=ServiceId(subject.get("id", "")),
        name=ServiceName(subject.get("name", "")),
        modify_index=subject.get("modify_index", 0),
    )
    return TxnOperation(service=TxnService(verb, node, service))


def _whole(subject: Mapping[str, Any], node: NodeName) -> Service:
    """A service to be stored: what registering refuses is refused here, for its operation."""
    try:
        return catalog_service(subject, node)
    except RequestError as error:
        raise _CannotBeTriedError(error.text) from None


def _check(fields: Mapping[str, Any], _bounds: Bounds, _datacenter: str) -> TxnOperation:
    subject = dict(fields.get("subject", {}))
    subject["status"] = subject.get("status") or "critical"
    check = Check(
        node=NodeName(subject.pop("node", "")), id=CheckId(subject.pop("id", "")), **subject
    )
    return TxnOperation(check=TxnCheck(fields.get("verb", ""), check))


def _session(fields: Mapping[str, Any], _bounds: Bounds, _datacenter: str) -> TxnOperation:
    subject = fields.get("subject", {})
    return TxnOperation(session=TxnSession(fields.get("verb", ""), subject.get("id", "")))


_PARTS: dict[str, Callable[[Mapping[str, Any], Bounds, str], TxnOperation]] = {
    "kv": _key,
    "node": _node,
    "service": _service,
    "check": _check,
    "session": _session,
}
