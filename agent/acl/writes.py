"""What each change of the state needs.

Every command of the registry has its line: without one an agent with access control does not
start. Where the need depends on what is there (a service's name behind its id, whether a node would
change) the line asks for it: it yields a query and is sent the answer's value. Each step names
needs of which one must be met, and all steps must be passed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Mapping
from typing import Any

from agent.acl.authorizer import READ, WRITE
from agent.acl.caller import DENIED, Need
from agent.acl.rules import Level
from agent.errors import RequestError
from raftstore import commands as c
from raftstore import definition_commands as dc
from raftstore.definition_queries import GetPreparedQuery
from raftstore.definitions import PreparedQuery
from raftstore.queries import GetIntention, GetSession, NodeChecks, NodeServices, Query
from raftstore.records import (
    Check,
    Node,
    NodeName,
    Service,
    ServiceId,
    TxnCheck,
    TxnKV,
    TxnNode,
    TxnOperation,
    TxnService,
)
from raftstore.revocations import DropRevocations, RevokeLeaf
from raftstore.signing_requests import OpenSigningRequest
from raftstore.virtual_commands import EnableVirtualAddresses

#: Needs of which one must be met.
AnyOf = tuple[Need, ...]
#: Yields questions about what is there; gives what must be met.
Asking = Generator[Query[Any], Any, tuple[AnyOf, ...]]
WriteRule = Callable[[Any], Asking]


class Plain:
    """A line that has to know nothing but the command."""

    __slots__ = ("needs",)

    def __init__(self, needs: Callable[[Any], tuple[AnyOf, ...]]) -> None:
        self.needs = needs

    def __call__(self, command: Any) -> Asking:
        """The same as lines that ask."""
        yield from ()
        return self.needs(command)


class Named(Plain):
    """One permission on what the command names. It is asked with each write of a key, so no need
    is made for it."""

    __slots__ = ("name", "resource", "verb")

    def __init__(self, resource: str, verb: Level, field: str) -> None:
        self.resource = resource
        self.verb = verb
        self.name: Callable[[Any], str] = operator.attrgetter(field)
        super().__init__(lambda command: _one(Need(resource, verb, self.name(command))))


def _always(need: Need) -> WriteRule:
    return Plain(lambda command: ((need,),))


def _one(need: Need) -> tuple[AnyOf, ...]:
    return ((need,),)


#: What the servers do among themselves; others may manage everything anyway.
_SERVERS = _always(Need("acl", WRITE))
_ACL = _always(Need("acl", WRITE))
_OPERATOR = _always(Need("operator", WRITE))


# -- catalog -------------------------------------------------------------------------------------


def _register(command: c.Register) -> Asking:
    """node:write if the node would change or has a check of its own, service:write for services."""
    there = yield NodeServices(command.node.name)
    found: list[AnyOf] = []
    if _changes(command, there.node):
        found.append((Need("node", WRITE, command.node.name),))
    service = command.service
    services: Mapping[ServiceId, Service] = {item.id: item for item in there.services}
    if service is not None:
        found.append((Need("service", WRITE, service.name),))
        # Taking an id over from another service is a change of that one as well.
        other = services.get(service.id)
        if other is not None and other.name != service.name:
            found.append((Need("service", WRITE, other.name),))
    for check in command.checks:
        need = _check_need(check, service, services, there.node is not None)
        if need is not None:
            found.append((need,))
    return tuple(found)


def _changes(command: c.Register, node: Node | None) -> bool:
    if node is None:
        return True
    if command.skip_node_update:
        return False
    wanted = command.node
    return (
        wanted.id != node.id
        or wanted.name.lower() != node.name.lower()
        or wanted.address != node.address
        or wanted.datacenter not in {node.datacenter, ""}
        or (wanted.tagged_addresses or {}) != (node.tagged_addresses or {})
        or wanted.locality != node.locality
        or (wanted.meta or {}) != (node.meta or {})
    )


def _check_need(
    check: Check, service: Service | None, services: Mapping[ServiceId, Service], known: bool
) -> Need | None:
    if not check.service_id:
        return Need("node", WRITE, check.node)
    if service is not None and service.id == check.service_id:
        return None  # the service's own need covers it
    if not known:
        raise RequestError(500, f"Unknown node '{check.node}' for check '{check.id}'")
    other = services.get(check.service_id)
    if other is None:
        reason = f"Unknown service '{check.service_id}' for check '{check.id}'"
        raise RequestError(500, reason)
    return Need("service", WRITE, other.name)


def _deregister(command: c.Deregister) -> Asking:
    """node:write is enough for whatever is on the node."""
    node = Need("node", WRITE, command.node)
    if command.service_id:
        there = yield NodeServices(command.node)
        names = [item.name for item in there.services if item.id == command.service_id]
        return ((node, Need("service", WRITE, names[0])),) if names else _one(node)
    if command.check_id:
        checks = yield NodeChecks(command.node)
        services = [item.service_name for item in checks if item.id == command.check_id]
        if services and services[0]:
            return ((node, Need("service", WRITE, services[0])),)
    return _one(node)


# -- keys and sessions ---------------------------------------------------------------------------


_KEY = Named("key", WRITE, "key")


def _tree(command: c.KVDeleteTree) -> tuple[AnyOf, ...]:
    return _one(Need("key", WRITE, command.prefix, below=True))


def _session_end(command: c.SessionDestroy) -> Asking:
    session = yield GetSession(command.id.lower())
    return () if session is None else _one(Need("session", WRITE, session.node))


# -- intentions and what operators define --------------------------------------------------------


def _intention(command: c.SetIntention) -> Asking:
    found = _one(Need("intention", WRITE, command.destination))
    if command.mode == "update":
        other = yield GetIntention(legacy_id=command.source.legacy_id)
        if other is not None and other.destination != command.destination:
            found += _one(Need("intention", WRITE, other.destination))
    return found


def _intention_end(command: c.DeleteIntention) -> Asking:
    if not command.legacy_id:
        return _one(Need("intention", WRITE, command.destination))
    other = yield GetIntention(legacy_id=command.legacy_id)
    return () if other is None else _one(Need("intention", WRITE, other.destination))


#: Kinds of config entries that concern the mesh as a whole.
_OF_OPERATORS = frozenset(
    {"proxy-defaults", "ingress-gateway", "terminating-gateway", "exported-services",
     "sameness-group", "control-plane-request-limit"}
)  # fmt: skip
_OF_THE_MESH = frozenset(
    {"mesh", "api-gateway", "bound-api-gateway", "http-route", "tcp-route", "inline-certificate",
     "file-system-certificate", "jwt-provider"}
)  # fmt: skip
#: Kinds that everybody may read: proxies, or agents, go by them.
_READ_BY_ALL = frozenset({"proxy-defaults", "mesh", "control-plane-request-limit"})


def config_entry_read(kind: str, name: str) -> Need | None:
    """What reading a config entry needs; None for nothing."""
    if kind in _READ_BY_ALL:
        return None
    if kind == "service-intentions":
        return Need("intention", READ, name)
    if kind in _OF_THE_MESH:
        return Need("mesh", READ)
    if kind in _OF_OPERATORS and kind not in {"ingress-gateway", "terminating-gateway"}:
        return Need("operator", READ)
    return Need("service", READ, name)


def config_entry_write(kind: str, name: str) -> Need:
    """What writing or deleting one needs."""
    if kind == "service-intentions":
        return Need("intention", WRITE, name)
    if kind in _OF_THE_MESH:
        return Need("mesh", WRITE)
    if kind in _OF_OPERATORS:
        return Need("operator", WRITE)
    return Need("service", WRITE, name)


def _entry(command: dc.SetConfigEntry) -> tuple[AnyOf, ...]:
    entry = command.entry
    found = [_one(config_entry_write(entry.kind, entry.name))[0]]
    if entry.kind in {"service-router", "service-splitter", "service-resolver"}:
        # Whoever sends others' traffic to a service must be able to see it.
        named = dict.fromkeys(_services_in(entry.content))
        found += [(Need("service", READ, name),) for name in named if name != entry.name]
    return tuple(found)


def _services_in(content: Any) -> list[str]:
    if isinstance(content, dict):
        own = content.get("Service")
        found = [own] if isinstance(own, str) and own else []
        return found + [name for inner in content.values() for name in _services_in(inner)]
    if isinstance(content, list):
        return [name for inner in content for name in _services_in(inner)]
    return []


def query_name(query: PreparedQuery) -> str | None:
    """What rules about a prepared query speak of; None where none do."""
    return query.name if query.name or query.template else None


def _query(command: dc.SetPreparedQuery) -> Asking:
    """The name it has, and the name it had."""
    there = yield GetPreparedQuery(command.query.id)
    names = [query_name(each) for each in (command.query, there) if each is not None]
    known = dict.fromkeys(name for name in names if name is not None)
    return tuple((Need("query", WRITE, name),) for name in known)


def _query_end(command: dc.DeletePreparedQuery) -> Asking:
    there = yield GetPreparedQuery(command.id)
    name = None if there is None else query_name(there)
    return () if name is None else _one(Need("query", WRITE, name))


# -- transactions --------------------------------------------------------------------------------

_KV_OUTPUT_FILTERED = frozenset({"get", "get-tree", "get-or-empty"})
_KV_READS = frozenset({"check-session", "check-index"})
_CATALOG_READS = frozenset({"get"})


def operation_needs(operation: TxnOperation) -> Asking:
    """What one step of a transaction needs. Reads are filtered in the answer."""
    if operation.kv is not None:
        return _kv_needs(operation.kv)
    if operation.node is not None:
        return _node_needs(operation.node)
    if operation.service is not None:
        return (yield from _service_needs(operation.service))
    if operation.check is not None:
        return (yield from _txn_check_needs(operation.check))
    if operation.session is not None:
        session = yield GetSession(operation.session.id.lower())
        return () if session is None else _one(Need("session", WRITE, session.node))
    return ()


def _kv_needs(step: TxnKV) -> tuple[AnyOf, ...]:
    if step.verb in _KV_OUTPUT_FILTERED:
        return ()
    if step.verb == "delete-tree":
        return _one(Need("key", WRITE, step.key, below=True))
    verb = READ if step.verb in _KV_READS else WRITE
    return _one(Need("key", verb, step.key))


def _node_needs(step: TxnNode) -> tuple[AnyOf, ...]:
    if step.verb in _CATALOG_READS:
        return ()
    return _one(Need("node", WRITE, step.node.name))


def _service_needs(step: TxnService) -> Asking:
    if step.verb in _CATALOG_READS:
        return ()
    there = yield NodeServices(step.node)
    names = dict.fromkeys(
        [step.service.name, *(item.name for item in there.services if item.id == step.service.id)]
    )
    return tuple((Need("service", WRITE, name),) for name in names if name)


def _txn_check_needs(step: TxnCheck) -> Asking:
    if step.verb in _CATALOG_READS:
        return ()
    check = step.check
    name = check.service_name
    if check.service_id and not name:
        there = yield NodeServices(NodeName(check.node))
        name = next((item.name for item in there.services if item.id == check.service_id), name)
    if check.service_id or name:
        return _one(Need("service", WRITE, name))
    return _one(Need("node", WRITE, check.node))


#: Every command and its line. A transaction is looked at step by step, see ``operation_needs``.
WRITES: Mapping[type[c.Command], WriteRule] = {
    c.Register: _register,
    c.Deregister: _deregister,
    c.KVSet: _KEY,
    c.KVDelete: _KEY,
    c.KVDeleteTree: Plain(_tree),
    c.KVLock: _KEY,
    c.KVUnlock: _KEY,
    c.SetIntention: _intention,
    c.DeleteIntention: _intention_end,
    c.SetCA: _SERVERS,
    c.SetCAConfig: _OPERATOR,
    c.NextSerial: _SERVERS,
    c.SessionCreate: Named("session", WRITE, "session.node"),
    c.SessionDestroy: _session_end,
    c.Transaction: _SERVERS,
    c.BeginRestore: _ACL,
    c.StageRestore: _ACL,
    c.EndRestore: _ACL,
    c.SetAutopilot: _always(
        Need("operator", WRITE, text=f"{DENIED}: Missing operator:write permissions")
    ),
    dc.SetConfigEntry: Plain(_entry),
    dc.DeleteConfigEntry: Plain(lambda x: _one(config_entry_write(x.kind, x.name))),
    dc.SetACLToken: _ACL,
    dc.DeleteACLTokens: _ACL,
    dc.SetACLPolicy: _ACL,
    dc.DeleteACLPolicy: _ACL,
    dc.SetACLRole: _ACL,
    dc.DeleteACLRole: _ACL,
    dc.SetACLAuthMethod: _ACL,
    dc.DeleteACLAuthMethod: _ACL,
    dc.SetACLBindingRule: _ACL,
    dc.DeleteACLBindingRule: _ACL,
    dc.SetPreparedQuery: _query,
    dc.DeletePreparedQuery: _query_end,
    dc.UpdateCoordinates: Plain(
        lambda x: tuple((Need("node", WRITE, each.node),) for each in x.updates)
    ),
    EnableVirtualAddresses: _SERVERS,
    RevokeLeaf: _OPERATOR,
    DropRevocations: _OPERATOR,
    OpenSigningRequest: _SERVERS,
    dc.BootstrapACL: _SERVERS,
    dc.SetACLFact: _SERVERS,
}
