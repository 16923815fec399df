"""What each question about the state needs, and what of its answer a caller may see.

Every query of the registry has its line: without one an agent with access control does not start.
Lists are filtered item by item, before any `?filter`; what is one thing is asked for as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.acl.authorizer import LIST, READ, WRITE, Authorizer
from agent.acl.caller import Need, need_of
from agent.acl.writes import AnyOf, config_entry_read, config_entry_write, query_name
from raftstore import catalog_queries as cq
from raftstore import definition_queries as d
from raftstore import dns_queries as dq
from raftstore import mesh_queries as mq
from raftstore import queries as q
from raftstore import restore_queries, rows
from raftstore.definitions import (
    ACLToken,
    ConfigEntry,
    Coordinate,
    PreparedQuery,
    VirtualAddress,
)
from raftstore.records import (
    Check,
    Intention,
    KVPair,
    Node,
    Session,
    TxnResult,
)
from raftstore.revocations import ListRevocations
from raftstore.signing_requests import GetSigningRequest

#: What a secret is shown as to those who may not have it.
HIDDEN = "<hidden>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRule:
    """One query's line.

    ``needs`` must all be met before the question is asked, of each group one; one of ``found``
    must be, where they depend on the answer. ``keep`` decides about each item of a tuple, ``shape``
    makes the answer that may be seen, with whether something was left out. ``instead`` is asked
    where items must be seen whole. Whoever may read ``whole``, whatever its name, sees all of it:
    that gives nothing which ``keep`` or ``shape`` would not, it spares looking at each item.
    """

    needs: Callable[[Any], tuple[Need | AnyOf, ...]] = lambda query: ()
    found: Callable[[Any, Any], tuple[Need, ...]] | None = None
    keep: Callable[[Authorizer, Any, Any], bool] | None = None
    shape: Callable[[Authorizer, Any, Any], tuple[Any, bool]] | None = None
    instead: Callable[[Any], Any] | None = None
    whole: tuple[str, ...] = ()

    def sees_all(self, authorizer: Authorizer) -> bool:
        """Whether nothing has to be looked at one by one."""
        return bool(self.whole) and all(authorizer.allows_all(each, READ) for each in self.whole)

    def tells_alike(self, authorizer: Authorizer) -> bool:
        """Whether whoever may ask is told the same as this one, who may."""
        if authorizer.management:
            return True
        if self.found is not None:
            return False
        return (self.keep is None and self.shape is None) or self.sees_all(authorizer)


def _always(need: Need) -> ReadRule:
    return ReadRule(needs=lambda query: (need,))


OPEN = ReadRule()
_OPERATOR = _always(Need("operator", READ))
_ACL = _always(Need("acl", READ))
#: Questions of the servers among themselves; others may manage everything anyway.
_SERVERS = _always(Need("acl", WRITE))


def _node(authorizer: Authorizer, name: str) -> bool:
    return authorizer.allows("node", READ, name)


def _service(authorizer: Authorizer, name: str) -> bool:
    return authorizer.allows("service", READ, name)


# -- catalog and health --------------------------------------------------------------------------


def _keep_node(authorizer: Authorizer, query: Any, item: Node) -> bool:
    return _node(authorizer, item.name)


def _keep_instance(authorizer: Authorizer, query: Any, item: Any) -> bool:
    if getattr(query, "connect", False) and not _service(authorizer, query.service):
        return False
    return _node(authorizer, item.node.name) and _service(authorizer, item.service.name)


def _keep_check(authorizer: Authorizer, query: Any, item: Check) -> bool:
    if not _node(authorizer, item.node):
        return False
    return not item.service_name or _service(authorizer, item.service_name)


def _service_names(authorizer: Authorizer, query: Any, value: Any) -> tuple[Any, bool]:
    kept = {name: tags for name, tags in value.items() if _service(authorizer, name)}
    return kept, len(kept) < len(value)


def _node_services(
    authorizer: Authorizer, query: Any, value: q.NodeServicesAnswer
) -> tuple[Any, bool]:
    if value.node is None:
        return value, False
    if not _node(authorizer, value.node.name):
        return q.NodeServicesAnswer(None, ()), True
    kept = tuple(item for item in value.services if _service(authorizer, item.name))
    return q.NodeServicesAnswer(value.node, kept), len(kept) < len(value.services)


def _instance(authorizer: Authorizer, dump: cq.NodeDump) -> tuple[cq.NodeDump, bool]:
    """A node that may be seen, with what on it may be seen."""
    services = tuple(item for item in dump.services if _service(authorizer, item.name))
    checks = tuple(item for item in dump.checks if _keep_check(authorizer, None, item))
    removed = len(services) < len(dump.services) or len(checks) < len(dump.checks)
    return cq.NodeDump(dump.node, services, checks), removed


def _dump(authorizer: Authorizer, query: Any, value: cq.NodeDump | None) -> tuple[Any, bool]:
    if value is None:
        return None, False
    if not _node(authorizer, value.node.name):
        return None, True
    return _instance(authorizer, value)


def _dumps(authorizer: Authorizer, query: Any, value: tuple[cq.NodeDump, ...]) -> tuple[Any, bool]:
    kept: list[cq.NodeDump] = []
    removed = False
    for dump in value:
        if not _node(authorizer, dump.node.name):
            removed = True
            continue
        seen, fewer = _instance(authorizer, dump)
        removed = removed or fewer
        kept.append(seen)
    return tuple(kept), removed


def _holder(
    authorizer: Authorizer, query: Any, value: dq.AddressHolder
) -> tuple[dq.AddressHolder, bool]:
    node, service = value.node, value.service
    if node is not None and not _node(authorizer, node.name):
        node = None
    if service is not None and not _service(authorizer, service.name):
        service = None
    removed = (node, service) != (value.node, value.service)
    return dq.AddressHolder(node=node, service=service), removed


def _sample(authorizer: Authorizer, query: Any, value: dq.Sample) -> tuple[dq.Sample, bool]:
    """What was drawn and may be seen, drawn of what may be seen: less perhaps than was wanted."""
    kept = tuple(item for item in value.entries if _keep_instance(authorizer, query, item))
    return replace(value, entries=kept), len(kept) < len(value.entries)


def _virtual(
    authorizer: Authorizer, query: Any, value: VirtualAddress | None
) -> tuple[VirtualAddress | None, bool]:
    if value is None or _service(authorizer, value.service):
        return value, False
    return None, True


def _keep_virtual(authorizer: Authorizer, query: Any, item: VirtualAddress) -> bool:
    return _service(authorizer, item.service)


def _keep_linked(authorizer: Authorizer, query: Any, item: mq.GatewayService) -> bool:
    return _service(authorizer, item.service)


# -- keys ----------------------------------------------------------------------------------------


def _keep_pair(authorizer: Authorizer, query: Any, item: KVPair) -> bool:
    return authorizer.allows("key", READ, item.key)


def _key_names(authorizer: Authorizer, query: q.KVKeys, value: Any) -> tuple[Any, bool]:
    """Keys are looked at whole and cut afterwards."""
    kept = [key for key in value if authorizer.allows("key", READ, key)]
    removed = len(kept) < len(value)
    if query.separator:
        start = len(query.prefix)
        cut = dict.fromkeys(_cut(key, query.separator, start) for key in kept)
        return tuple(cut), removed
    return tuple(kept), removed


def _cut(key: str, separator: str, start: int) -> str:
    at = key.find(separator, start)
    return key if at < 0 else key[: at + len(separator)]


def acts_for_a_query(query: q.Query[Any]) -> bool:
    """Whether another token's rights may count than those of who asks."""
    return isinstance(query, q.HealthService | d.CoordinatesOf) and bool(query.by_query)


def list_need(query: Any) -> Need | None:
    """What listing keys needs besides, where `acl.enable_key_list_policy` is on."""
    if isinstance(query, q.KVList | q.KVKeys):
        return Need("key", LIST, query.prefix)
    return None


# -- sessions, intentions, transactions ----------------------------------------------------------


def _keep_session(authorizer: Authorizer, query: Any, item: Session) -> bool:
    return authorizer.allows("session", READ, item.node)


def _one_session(authorizer: Authorizer, query: Any, value: Session | None) -> tuple[Any, bool]:
    if value is None or _keep_session(authorizer, query, value):
        return value, False
    return None, True


def may_see(authorizer: Authorizer, intention: Intention) -> bool:
    """An intention is seen by those who may see those of one of its sides."""
    return authorizer.allows("intention", READ, intention.source.name) or authorizer.allows(
        "intention", READ, intention.destination
    )


def _keep_intention(authorizer: Authorizer, query: Any, item: Intention) -> bool:
    return may_see(authorizer, item)


def _one_intention(query: q.GetIntention, value: Intention | None) -> tuple[Need, ...]:
    if value is None:
        return ()
    return (
        Need("intention", READ, value.source.name),
        Need("intention", READ, value.destination),
    )


def _matched(query: q.MatchIntentions) -> tuple[Need, ...]:
    return tuple(Need("intention", READ, name) for name in query.names)


def _txn_results(authorizer: Authorizer, query: Any, value: Any) -> tuple[Any, bool]:
    kept = visible_results(authorizer, value.results)
    return replace(value, results=kept), len(kept) < len(value.results)


def visible_results(
    authorizer: Authorizer, results: tuple[TxnResult, ...]
) -> tuple[TxnResult, ...]:
    """The results of a transaction that may be seen."""
    return tuple(result for result in results if _result(authorizer, result))


def _result(authorizer: Authorizer, result: TxnResult) -> bool:
    if result.kv is not None:
        return authorizer.allows("key", READ, result.kv.key)
    if result.node is not None:
        return _node(authorizer, result.node.name)
    if result.service is not None:
        return _service(authorizer, result.service.name)
    assert result.check is not None, "a result is one of four"
    if result.check.service_name:
        return _service(authorizer, result.check.service_name)
    return _node(authorizer, result.check.node)


# -- what operators define -----------------------------------------------------------------------


def _entry(query: d.GetConfigEntry) -> tuple[Need, ...]:
    need = config_entry_read(query.kind, query.name)
    return () if need is None else (need,)


def _planned(query: mq.PlanConfigEntry) -> tuple[Need, ...]:
    """Whoever may not write an entry need not know what it would do."""
    return (config_entry_write(query.kind, query.name),)


def _keep_entry(authorizer: Authorizer, query: Any, item: ConfigEntry) -> bool:
    need = config_entry_read(item.kind, item.name)
    return need is None or need.met(authorizer)


def _token(authorizer: Authorizer, query: Any, value: Any) -> tuple[Any, bool]:
    if authorizer.allows("acl", WRITE):
        return value, False
    if isinstance(value, tuple):
        return tuple(_hidden(token) for token in value), False
    return _hidden(value), False


def _hidden(token: ACLToken | None) -> ACLToken | None:
    return None if token is None else replace(token, secret=HIDDEN, secret_hash="")


def _prepared(query: Any, value: PreparedQuery | None) -> tuple[Need, ...]:
    """A query without a name is anybody's who knows its id."""
    name = None if value is None else query_name(value)
    return () if name is None else (Need("query", READ, name),)


def _keep_prepared(authorizer: Authorizer, query: Any, item: PreparedQuery) -> bool:
    name = query_name(item)
    return name is not None and authorizer.allows("query", READ, name)


def _prepared_seen(authorizer: Authorizer, query: Any, value: Any) -> tuple[Any, bool]:
    """The token that a query is carried out with is not for those who only read."""
    return _without_token(authorizer, value), False


def _prepared_list(
    authorizer: Authorizer, query: Any, value: tuple[PreparedQuery, ...]
) -> tuple[Any, bool]:
    kept = [item for item in value if _keep_prepared(authorizer, query, item)]
    shown = tuple(_without_token(authorizer, item) for item in kept)
    return shown, len(kept) < len(value)


def _without_token(authorizer: Authorizer, query: PreparedQuery | None) -> PreparedQuery | None:
    content = None if query is None else query.content
    if query is None or not isinstance(content, dict) or not content.get("Token"):
        return query
    if authorizer.allows("acl", WRITE):
        return query
    return replace(query, content={**content, "Token": HIDDEN})


def _keep_coordinate(authorizer: Authorizer, query: Any, item: Coordinate) -> bool:
    return _node(authorizer, item.node)


def _coordinates(query: d.ListCoordinates) -> tuple[Need, ...]:
    return (Need("node", READ, query.node),) if query.node else ()


# -- history -------------------------------------------------------------------------------------


def _history_needs(query: q.History) -> tuple[Need | AnyOf, ...]:
    """An agent may read what became of its own node: whether what it misses was removed."""
    operator = Need("operator", READ)
    node = query.key.partition("/")[0]
    if node and query.table in {"nodes", "services", "checks"}:
        return ((Need("node", WRITE, node), operator),)
    return (operator,)


def _history(authorizer: Authorizer, query: Any, value: q.HistoryAnswer) -> tuple[Any, bool]:
    kept = tuple(change for change in value.changes if _change(authorizer, change))
    return replace(value, changes=kept), len(kept) < len(value.changes)


def _change(authorizer: Authorizer, change: q.Change) -> bool:
    """A change is seen by those who may see the row, as it was and as it is."""
    sides = [rows.read(change.table, data) for data in (change.before, change.after) if data]
    return all(_row(authorizer, change.table, row) for row in sides)


def _row(authorizer: Authorizer, table: str, row: Any) -> bool:
    match table:
        case "kv":
            return authorizer.allows("key", READ, row.key)
        case "nodes":
            return _node(authorizer, row.name)
        case "services":
            return _service(authorizer, row.name)
        case "checks":
            return _keep_check(authorizer, None, row)
        case "sessions":
            return authorizer.allows("session", READ, row.node)
        case "coordinates":
            return _node(authorizer, row.node)
        case "config-entries":
            return _keep_entry(authorizer, None, row)
        case "prepared-queries":
            return _keep_prepared(authorizer, None, row)
        case _ if table.startswith("acl-"):
            return authorizer.allows("acl", READ)
        case "intentions":
            return authorizer.allows("intention", READ, row.destination)
        case _:
            return authorizer.allows("operator", READ)


_CATALOG = ("node", "service")

#: Every query and its line.
READS: Mapping[type[q.Query[Any]], ReadRule] = {
    q.ListNodes: ReadRule(keep=_keep_node, whole=("node",)),
    q.ListServices: ReadRule(shape=_service_names, whole=("service",)),
    q.ServiceNodes: ReadRule(keep=_keep_instance, whole=_CATALOG),
    q.NodeServices: ReadRule(shape=_node_services, whole=_CATALOG),
    q.HealthService: ReadRule(keep=_keep_instance, whole=_CATALOG),
    q.NodeChecks: ReadRule(keep=_keep_check, whole=_CATALOG),
    q.ServiceChecks: ReadRule(keep=_keep_check, whole=_CATALOG),
    q.ChecksInState: ReadRule(keep=_keep_check, whole=_CATALOG),
    q.KVGet: ReadRule(needs=lambda query: (need_of("key", READ, query.key),)),
    q.KVList: ReadRule(keep=_keep_pair, whole=("key",)),
    q.KVKeys: ReadRule(
        shape=_key_names, instead=lambda query: q.KVKeys(query.prefix) if query.separator else query
    ),
    q.ListIntentions: ReadRule(keep=_keep_intention),
    q.MatchIntentions: ReadRule(needs=_matched),
    q.GetIntention: ReadRule(found=_one_intention),
    q.GetCARoots: OPEN,
    ListRevocations: OPEN,
    q.GetCAConfig: _OPERATOR,
    q.GetCAProvider: _SERVERS,
    GetSigningRequest: _SERVERS,
    q.GetSession: ReadRule(shape=_one_session),
    q.NodeSessions: ReadRule(keep=_keep_session),
    q.ListSessions: ReadRule(keep=_keep_session),
    q.SessionTimers: _OPERATOR,
    q.WhySessionEnded: _OPERATOR,
    q.SessionLocks: _OPERATOR,
    q.ReadTransaction: ReadRule(shape=_txn_results),
    q.GetAutopilot: _OPERATOR,
    q.History: ReadRule(needs=_history_needs, shape=_history),
    q.Diff: ReadRule(needs=lambda query: (Need("operator", READ),), shape=_history),
    d.GetConfigEntry: ReadRule(needs=_entry),
    d.ListConfigEntries: ReadRule(keep=_keep_entry),
    d.GetACLToken: ReadRule(needs=lambda query: (Need("acl", READ),), shape=_token),
    d.ACLTokenBySecret: ReadRule(needs=lambda query: (Need("acl", READ),), shape=_token),
    d.ListACLTokens: ReadRule(needs=lambda query: (Need("acl", READ),), shape=_token),
    d.ExpiringACLTokens: ReadRule(needs=lambda query: (Need("acl", READ),), shape=_token),
    d.GetACLPolicy: _ACL,
    d.ListACLPolicies: _ACL,
    d.GetACLRole: _ACL,
    d.ListACLRoles: _ACL,
    d.GetACLAuthMethod: _ACL,
    d.ListACLAuthMethods: _ACL,
    d.GetACLBindingRule: _ACL,
    d.ListACLBindingRules: _ACL,
    d.GetACLFact: _SERVERS,
    d.GetPreparedQuery: ReadRule(found=_prepared, shape=_prepared_seen),
    # Whoever knows a query's name may carry it out.
    d.FindPreparedQuery: ReadRule(shape=_prepared_seen),
    d.ListPreparedQueries: ReadRule(shape=_prepared_list),
    d.ListCoordinates: ReadRule(needs=_coordinates, keep=_keep_coordinate),
    d.CoordinatesOf: ReadRule(keep=_keep_coordinate),
    restore_queries.GetRestore: OPEN,
    cq.DumpNodes: ReadRule(shape=_dumps, whole=_CATALOG),
    cq.DumpNode: ReadRule(shape=_dump, whole=_CATALOG),
    # How many there are is told to every agent: it spreads its renewals by it.
    cq.CountServices: OPEN,
    dq.WhoHasAddress: ReadRule(shape=_holder),
    dq.HealthSample: ReadRule(shape=_sample, whole=_CATALOG),
    dq.GetVirtualAddress: ReadRule(shape=_virtual),
    dq.VirtualAddressAt: ReadRule(shape=_virtual),
    dq.ListVirtualAddresses: ReadRule(keep=_keep_virtual),
    mq.DiscoveryChain: ReadRule(needs=lambda query: (Need("service", READ, query.service),)),
    mq.GatewayServices: ReadRule(
        needs=lambda query: (Need("service", READ, query.gateway),), keep=_keep_linked
    ),
    mq.IngressHealth: ReadRule(keep=_keep_instance),
    mq.PlanConfigEntry: ReadRule(needs=_planned),
}
