"""`/v1/operator/usage`: how much of everything there is (http-api contract 18)."""

from __future__ import annotations

from dataclasses import replace

from agent.http.call import FAILED_READ, Call
from agent.http.reply import Reply
from raftstore.catalog_queries import CountServices, ServiceCounts
from raftstore.queries import ListNodes
from raftstore.records import Json

#: The kinds that are part of the mesh.
_CONNECT_KINDS = (
    "api-gateway",
    "connect-proxy",
    "ingress-gateway",
    "mesh-gateway",
    "terminating-gateway",
)


async def usage(call: Call) -> Reply:
    """The number of nodes, services and instances; `global` would add other datacenters."""
    options = call.options()
    call.failure_headers = FAILED_READ
    found = await call.ask(CountServices(), options)
    nodes = await call.context.backend.ask(ListNodes(), replace(options, min_index=0))
    shown = {
        "Usage": {call.context.config.datacenter: _counts(found.value, len(nodes.value))},
        "Index": found.index,
        "LastContact": round(found.last_contact_s * 1e9),
        "KnownLeader": found.known_leader,
        "ConsistencyLevel": found.consistency.value,
        "NotModified": False,
        "Backend": 0,
        "ResultsFilteredByACLs": False,
    }
    return call.answer(shown, found)


def _counts(counts: ServiceCounts, nodes: int) -> Json:
    mesh = {kind: counts.kinds.get(kind, 0) for kind in _CONNECT_KINDS}
    return {
        "Nodes": nodes,
        "Services": counts.names,
        "ServiceInstances": sum(counts.kinds.values()),
        "ConnectServiceInstances": {"connect-native": counts.native, **mesh},
        # The servers' own registrations are not what anybody pays for.
        "BillableServiceInstances": max(0, counts.kinds.get("", 0) - counts.consul),
    }
