"""A transaction's operations on nodes, services and checks: their verbs, errors and results.

All three have the same verbs (http-api contract 4): get, set, cas, delete, delete-cas. A comparing
verb holds when the stored modify index is the one given; cas with 0 wants the thing absent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from raftstore.commands import Deregister
from raftstore.records import (
    Check,
    CheckId,
    Node,
    Service,
    ServiceId,
    TxnCheck,
    TxnNode,
    TxnOperation,
    TxnResult,
    TxnService,
)
from raftstore.state.catalog import Catalog
from raftstore.state.lookups import Lookups
from raftstore.uuids import uuid_problem

_Step = tuple[tuple[TxnResult, ...], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """A thing of the catalog, whatever it is. ``shown`` names it in errors; ``index`` is what a
    comparing verb wants."""

    kind: str
    verb: str
    shown: str
    index: int
    find: Callable[[], Node | Service | Check | None]
    put: Callable[[int], str]
    remove: Callable[[int], object]


class CatalogVerbs:
    """Carries them out."""

    __slots__ = ("_catalog", "_lookups")

    def __init__(self, catalog: Catalog, lookups: Lookups) -> None:
        self._catalog = catalog
        self._lookups = lookups

    def refusal(self, operation: TxnOperation) -> str:
        """Why the operation cannot even be tried, "" when it can."""
        if operation.node is not None and operation.node.verb != "get":
            return _refuse_node(operation.node.node)
        if operation.service is not None and operation.service.verb != "get":
            named = operation.service.service.name
            return "" if named else "Must provide service name with ID"
        if operation.check is not None and operation.check.verb != "get":
            check = operation.check.check
            return "" if check.id or check.name else "Must provide check ID"
        return ""

    def index_of(self, operation: TxnOperation) -> int:
        """Index of the node that the operation is about."""
        if operation.node is not None:
            of_node = self._lookups.node_index(operation.node.node.name)
            return max(of_node, self._lookups.nodes_index())
        if operation.service is not None:
            return self._lookups.node_index(operation.service.node)
        if operation.check is not None:
            return self._lookups.node_index(operation.check.check.node)
        return 0

    def look(self, operation: TxnOperation) -> _Step:
        """Do what "get" says; every other verb is unknown to a reader."""
        subject = self._subject(operation)
        if subject is None:
            return (), ""
        if subject.verb != "get":
            return (), f'unknown {subject.kind.title()} verb "{subject.verb}"'
        return _get(subject)

    def carry_out(self, index: int, operation: TxnOperation) -> _Step:
        """Do what any verb says."""
        subject = self._subject(operation)
        if subject is None:
            return (), ""
        stored = subject.find()
        match subject.verb:
            case "get":
                return _get(subject)
            case "cas" if subject.index != (stored.modify_index if stored else 0):
                return (), f"failed to set {subject.kind} {subject.shown}, index is stale"
            case "set" | "cas":
                problem = subject.put(index)
                return ((), problem) if problem else _get(subject)
            case "delete-cas" if stored is None or subject.index != stored.modify_index:
                return (), f"failed to delete {subject.kind} {subject.shown}, index is stale"
            case "delete" | "delete-cas":
                subject.remove(index)
                return (), ""
            case _:
                return (), f'unknown {subject.kind.title()} verb "{subject.verb}"'

    def _subject(self, operation: TxnOperation) -> _Subject | None:
        if operation.node is not None:
            return self._node(operation.node)
        if operation.service is not None:
            return self._service(operation.service)
        return None if operation.check is None else self._check(operation.check)

    def _node(self, operation: TxnNode) -> _Subject:
        node = operation.node
        return _Subject(
            kind="node",
            verb=operation.verb,
            shown=f'"{node.name}"',
            index=node.modify_index,
            find=lambda: self._lookups.find_node(node.name, node.id),
            put=lambda index: self._catalog.set_node(index, node),
            remove=lambda index: self._catalog.deregister(index, Deregister(node=node.name)),
        )

    def _service(self, operation: TxnService) -> _Subject:
        node, service = operation.node, operation.service
        service = replace(service, id=service.id or ServiceId(service.name))
        gone = Deregister(node=node, service_id=service.id)
        return _Subject(
            kind="service",
            verb=operation.verb,
            shown=f'"{service.id}" on node "{node}"',
            index=service.modify_index,
            find=lambda: self._lookups.find_service(node, service.id),
            put=lambda index: self._catalog.set_service(index, node, service),
            remove=lambda index: self._catalog.deregister(index, gone),
        )

    def _check(self, operation: TxnCheck) -> _Subject:
        check = operation.check
        check = replace(check, id=check.id or CheckId(check.name))
        gone = Deregister(node=check.node, check_id=check.id)
        return _Subject(
            kind="check",
            verb=operation.verb,
            shown=f'"{check.id}" on node "{check.node}"',
            index=check.modify_index,
            find=lambda: self._lookups.find_check(check.node, check.id),
            put=lambda index: self._catalog.set_check(index, check),
            remove=lambda index: self._catalog.deregister(index, gone),
        )


def _get(subject: _Subject) -> _Step:
    found = subject.find()
    match found:
        case Node():
            return (TxnResult(node=found),), ""
        case Service():
            return (TxnResult(service=found),), ""
        case Check():
            return (TxnResult(check=found),), ""
        case _:
            return (), f"{subject.kind} {subject.shown} doesn't exist"


def _refuse_node(node: Node) -> str:
    if not node.name:
        return "Must provide node"
    if node.id and uuid_problem(node.id):
        return "Bad node ID: uuid is improperly formatted"
    return ""
