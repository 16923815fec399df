"""Routes of keys, transactions, sessions, snapshots, coordinates, events and the cluster."""

from __future__ import annotations

from agent.http import kv, session, status
from agent.http.routes.late import LateHandlers
from agent.http.routes.table import LOCAL, Body, Class, get, planned, route, write

coordinate = LateHandlers("coordinate")
event = LateHandlers("event")
snapshot = LateHandlers("snapshot")
txn = LateHandlers("txn")

STATE = (
    route(
        "/kv/",
        planned("GET", kv.get, "key:read"),
        planned("PUT", kv.put, "key:write", Body.KV),
        write("DELETE", kv.delete, "key:write"),
    ),
    route("/txn", write("PUT", txn.run, "key:write", Body.TXN)),
    route("/session/create", write("PUT", session.create, "session:write", Body.JSON)),
    route("/session/destroy/", write("PUT", session.destroy, "session:write")),
    route("/session/renew/", write("PUT", session.renew, "session:write")),
    route("/session/info/", get(session.info, "session:read")),
    route("/session/node/", get(session.of_node, "session:read")),
    route("/session/list", get(session.list_all, "session:read")),
    route(
        "/snapshot",
        get(snapshot.save, "acl:write"),
        write("PUT", snapshot.restore, "acl:write", Body.STREAM),
    ),
    route("/coordinate/datacenters", get(coordinate.datacenters, "")),
    route("/coordinate/nodes", get(coordinate.nodes, "node:read")),
    route("/coordinate/node/", get(coordinate.node, "node:read")),
    route("/coordinate/update", write("PUT", coordinate.update, "node:write", Body.JSON)),
    route(
        "/event/fire/",
        write("PUT", event.fire, "event:write", Body.JSON, Class.LOCAL_WRITE),
    ),
    route("/event/list", get(event.list_all, "event:read", LOCAL)),
    route("/status/leader", get(status.leader, "")),
    route("/status/peers", get(status.peers, "")),
)
