"""What a program written against py-consul does, area by area.

Run by `tests/interop/test_clients.py` with the Python that has the client, not with ours: this file
must import nothing of the repository but its neighbour.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

import consul
import consul.check
from script_running import Agent, eventually, main

Check = consul.check.Check


def client(agent: Agent) -> Any:
    """The client, told where the agent is."""
    return consul.Consul(host=agent.host, port=agent.port, token=agent.token or None)


def agent_services(agent: Agent) -> None:
    c = client(agent)
    assert c.agent.service.register(
        "web", service_id="web-1", address="10.0.0.9", port=80, tags=["a", "b"],
        meta={"version": "1"}, check=Check.ttl("30s"), weights={"Passing": 3, "Warning": 1},
        tagged_addresses={"lan": {"address": "10.0.0.9", "port": 80}},
    )  # fmt: skip
    own = c.agent.services()["web-1"]
    assert (own["Service"], own["Port"], own["Tags"]) == ("web", 80, ["a", "b"])
    assert own["Meta"] == {"version": "1"} and own["Weights"] == {"Passing": 3, "Warning": 1}
    assert c.agent.service_definition("web-1")["ContentHash"]
    assert set(c.agent.services(filter_expr='"a" in Tags')) == {"web-1"}
    assert c.agent.checks()["service:web-1"]["Status"] == "critical"
    assert c.agent.check.ttl_pass("service:web-1", notes="well")
    assert c.agent.checks()["service:web-1"]["Output"] == "well"
    eventually(lambda: c.health.service("web", passing=True)[1])
    assert c.agent.service.maintenance("web-1", True, "upgrade")
    assert c.agent.checks()["_service_maintenance:web-1"]["Notes"] == "upgrade"
    eventually(lambda: not c.health.service("web", passing=True)[1])
    assert c.agent.service.maintenance("web-1", False)
    assert c.agent.service.deregister("web-1")
    assert "web-1" not in c.agent.services()
    eventually(lambda: c.health.service("web")[1] == [])


def agent_checks(agent: Agent) -> None:
    c = client(agent)
    assert c.agent.check.register("disk", Check.ttl("30s"), check_id="disk", notes="of the host")
    for done, status in (
        (c.agent.check.ttl_warn, "warning"),
        (c.agent.check.ttl_fail, "critical"),
        (c.agent.check.ttl_pass, "passing"),
    ):
        assert done("disk", notes=status)
        assert (c.agent.checks()["disk"]["Status"]) == status
    own = f"http://{agent.host}:{agent.port}/v1/status/leader"
    assert c.agent.check.register("api", Check.http(own, "1s", timeout="2s"), check_id="api")
    eventually(lambda: c.agent.checks()["api"]["Status"] == "passing")
    port = Check.tcp(agent.host, agent.port, "1s", "2s")
    assert c.agent.check.register("port", port, check_id="port")
    eventually(lambda: c.agent.checks()["port"]["Status"] == "passing")
    for check in ("disk", "api", "port"):
        assert c.agent.check.deregister(check)
    assert not {"disk", "api", "port"} & set(c.agent.checks())
    refused(c.agent.check.register, "none", Check.ttl("1s"), service_id="absent")


def agent_itself(agent: Agent) -> None:
    c = client(agent)
    own = c.agent.self()
    assert own["Member"]["Name"] == own["Config"]["NodeName"]
    assert own["Member"] in c.agent.members()
    assert c.agent.maintenance(True, "moving")
    assert c.agent.checks()["_node_maintenance"]["Notes"] == "moving"
    assert c.agent.maintenance(False)
    assert c.agent.reload()
    assert "Gauges" in c.agent.metrics()
    refused(c.agent.force_leave, "nobody", prune=True)
    roots = c.connect.ca.roots()
    assert [root["Active"] for root in roots["Roots"]] == [True]


def catalog(agent: Agent) -> None:
    c = client(agent)
    if agent.token:
        # It writes the token into the body, where Consul has refused unknown fields since 1.7.
        refused(c.catalog.register, "n1", "10.1.0.1", error=consul.exceptions.BadRequest)
        return
    assert c.catalog.register(
        "n1", "10.1.0.1", service={"service": "s1", "tags": ["first"]}, check={"name": "c1"}
    )
    assert c.catalog.register("n2", "10.1.0.2", service={"service": "s1"})
    refused(c.catalog.register, "n3", "10.1.0.3", dc="dc2")
    assert {"n1", "n2"} <= {node["Node"] for node in c.catalog.nodes()[1]}
    assert c.catalog.nodes(node_meta={"rack": "none"})[1] == []
    assert c.catalog.services()[1]["s1"] == ["first"]
    assert {n["Node"] for n in c.catalog.service("s1")[1]} == {"n1", "n2"}
    assert [n["Node"] for n in c.catalog.service("s1", tag="first")[1]] == ["n1"]
    assert set(c.catalog.node("n1")[1]["Services"]) == {"s1"}
    assert c.catalog.node("nobody")[1] is None
    assert c.catalog.datacenters() == ["dc1"]
    assert c.catalog.connect("s1")[1] == []
    assert [check["Name"] for check in c.health.node("n1")[1]] == ["c1"]
    assert c.catalog.deregister("n1", check_id="c1") and c.catalog.deregister("n2")
    assert {n["Node"] for n in c.catalog.service("s1")[1]} == {"n1"}
    assert c.catalog.deregister("n1")
    assert c.catalog.service("s1")[1] == []


def keys(agent: Agent) -> None:
    c = client(agent)
    at, nothing = c.kv.get("t/none")
    assert nothing is None and int(at) > 0
    assert c.kv.put("t/a", "text", flags=7) and c.kv.put("t/b", b"\x00\xff") and c.kv.put("t/c", "")
    found = c.kv.get("t/a")[1]
    assert (found["Value"], found["Flags"], found["LockIndex"]) == (b"text", 7, 0)
    assert c.kv.get("t/b")[1]["Value"] == b"\x00\xff"
    assert c.kv.get("t/c")[1]["Value"] in (None, b"")
    assert [entry["Key"] for entry in c.kv.get("t/", recurse=True)[1]] == ["t/a", "t/b", "t/c"]
    assert c.kv.get("t/", keys=True)[1] == ["t/a", "t/b", "t/c"]
    assert c.kv.get("", keys=True, separator="/")[1]
    assert c.kv.put("t/a", "no", cas=1) is False
    assert c.kv.put("t/a", "yes", cas=found["ModifyIndex"]) is True
    assert c.kv.put("t/new", "1", cas=0) is True and c.kv.put("t/new", "1", cas=0) is False
    assert c.kv.delete("t/new", cas=1) is False
    assert c.kv.put("t/ü /%?#", "name") and c.kv.get("t/ü /%?#")[1]["Value"] == b"name"
    assert c.kv.get("t/a", consistency="stale")[1] and c.kv.get("t/a", consistency="consistent")[1]
    assert c.kv.delete("t/", recurse=True) is True
    assert c.kv.get("t/", recurse=True)[1] is None


def blocking(agent: Agent) -> None:
    c = client(agent)
    c.kv.put("watched", "old")
    index, _ = c.kv.get("watched")
    timer = threading.Timer(0.2, lambda: client(agent).kv.put("watched", "new"))
    timer.start()
    later, found = c.kv.get("watched", index=index, wait="20s")
    timer.join()
    assert (found["Value"], int(later) > int(index)) == (b"new", True)
    assert c.kv.get("watched", index=later, wait="10ms")[0] == later
    index, none = c.health.service("late", passing=True)
    assert none == []
    timer = threading.Timer(0.2, lambda: client(agent).agent.service.register("late"))
    timer.start()
    later, found = c.health.service("late", passing=True, index=index, wait="20s")
    timer.join()
    assert [entry["Service"]["ID"] for entry in found] == ["late"]
    c.agent.service.deregister("late")


def transactions(agent: Agent) -> None:
    c = client(agent)
    value = "dmFsdWU="
    done = c.txn.put([{"KV": {"Verb": "set", "Key": "txn", "Value": value}},
                      {"KV": {"Verb": "get", "Key": "txn"}}])  # fmt: skip
    assert done["Results"][1]["KV"]["Value"] == value and not done["Errors"]
    refused(c.txn.put, [{"KV": {"Verb": "cas", "Key": "txn", "Value": value, "Index": 1}}])
    c.kv.delete("txn")


def sessions(agent: Agent) -> None:
    c = client(agent)
    held = c.session.create("lock", ttl=15, lock_delay=1, behavior="delete")
    assert c.session.info(held)[1]["Behavior"] == "delete"
    assert held in [session["ID"] for session in c.session.list()[1]]
    node = c.agent.self()["Config"]["NodeName"]
    assert held in [session["ID"] for session in c.session.node(node)[1]]
    other = c.session.create("other", lock_delay=0)
    assert c.kv.put("lock", "me", acquire=held) is True
    assert c.kv.put("lock", "you", acquire=other) is False
    assert c.kv.get("lock")[1]["Session"] == held
    assert c.kv.put("lock", "me", release=held) is True
    assert c.kv.put("lock", "you", acquire=other) is True
    assert c.session.renew(held)["TTL"] == "15s"
    assert c.session.destroy(held) and c.session.destroy(other)
    assert c.session.info(held)[1] is None
    refused(c.session.renew, str(uuid.uuid4()), error=consul.NotFound)
    assert "Session" not in c.kv.get("lock")[1]
    c.kv.delete("lock")


def events(agent: Agent) -> None:
    c = client(agent)
    fired = c.event.fire("deploy", "v2")
    eventually(lambda: fired["ID"] in [event["ID"] for event in c.event.list("deploy")[1]])
    assert c.event.list("another")[1] == []


def queries(agent: Agent) -> None:
    c = client(agent)
    c.agent.service.register("db", service_id="db-1", port=5432, tags=["primary"])
    eventually(lambda: c.health.service("db")[1])
    made = c.query.create("db", name="db-query", tags=["primary"], ttl="10s", onlypassing=True)
    found = c.query.get(made["ID"])
    assert [query["Name"] for query in found] == ["db-query"]
    assert made["ID"] in [query["ID"] for query in c.query.list()]
    answer = c.query.execute("db-query")
    assert [node["Service"]["ID"] for node in answer["Nodes"]] == ["db-1"]
    assert c.query.explain("db-query")["Query"]["Service"]["Service"] == "db"
    assert c.query.update(made["ID"], service="db", name="db-query")
    assert c.query.delete(made["ID"])
    assert c.query.execute("db-query") is None
    c.agent.service.deregister("db-1")


def entries_and_intentions(agent: Agent) -> None:
    c = client(agent)
    assert c.config.set("service-defaults", "web", {"Protocol": "http"})
    assert c.config.get("service-defaults", "web")["Protocol"] == "http"
    assert [entry["Name"] for entry in c.config.list("service-defaults")] == ["web"]
    assert c.discovery_chain.get("web")["Chain"]["Protocol"] == "http"
    assert c.config.delete("service-defaults", "web")
    assert c.connect.intentions.upsert("a", "b", action="deny")
    assert c.connect.intentions.read("a", "b")["Action"] == "deny"
    assert c.connect.intentions.check("a", "b") is False
    assert c.connect.intentions.delete("a", "b")
    leaf = c.agent.connect.ca.leaf("web")
    assert "BEGIN CERTIFICATE" in leaf["CertPEM"] and "PRIVATE KEY" in leaf["PrivateKeyPEM"]


def coordinates_status_operator(agent: Agent) -> None:
    c = client(agent)
    assert [pool["Datacenter"] for pool in c.coordinate.datacenters()]
    assert isinstance(c.coordinate.nodes()[1], list)
    leader = c.status.leader()
    assert leader in c.status.peers()
    assert [server["Leader"] for server in c.operator.raft_config()["Servers"]] == [True]
    assert c.operator.autopilot_configuration()["CleanupDeadServers"] is True
    assert c.operator.usage()["Usage"]["dc1"]["Nodes"] >= 1
    refused(c.operator.raft_remove_peer, address="10.255.255.1:8300")
    refused(c.operator.keyring_list)


def snapshots(agent: Agent) -> None:
    c = client(agent)
    c.kv.put("kept", "before")
    saved = c.snapshot.save()
    c.kv.put("kept", "after")
    assert c.snapshot.restore(saved)
    assert c.kv.get("kept")[1]["Value"] == b"before"
    c.kv.delete("kept")


def access(agent: Agent) -> None:
    if not agent.token:
        refused(client(agent).acl.token.list, error=consul.ACLDisabled)
        return
    c = client(agent)
    policy = c.acl.policy.create(
        name="readers",
        description="of keys",
        rules={"key_prefix": {"shared/": {"policy": "read"}, "private/": {"policy": "deny"}}},
    )
    made = c.acl.token.create(policies_id=[policy["ID"]], description="a reader")
    role = c.acl.role.create(name="readers", service_identities=[{"ServiceName": "web"}])
    assert c.acl.role.read_by_name("readers")["ID"] == role["ID"]
    c.kv.put("shared/a", "1")
    c.kv.put("private/a", "1")
    reader = consul.Consul(host=agent.host, port=agent.port, token=made["SecretID"])
    assert reader.kv.get("shared/a")[1]["Value"] == b"1"
    refused(reader.kv.get, "private/a", error=consul.ACLPermissionDenied)
    refused(reader.kv.put, "shared/a", "2", error=consul.ACLPermissionDenied)
    assert c.kv.get("shared/a", token=made["SecretID"])[1]
    copy = c.acl.token.clone(made["AccessorID"], description="a copy")
    assert copy["SecretID"] != made["SecretID"]
    assert c.acl.token.read(copy["AccessorID"])["Description"] == "a copy"
    for token in (made, copy):
        assert c.acl.token.delete(token["AccessorID"])
    assert c.acl.role.delete(role["ID"]) and c.acl.policy.delete(policy["ID"])
    refused(reader.kv.get, "shared/a", error=consul.ACLPermissionDenied)
    refused(c.acl.bootstrap)


def refused(ask: Any, *values: Any, error: Any = consul.ConsulException, **options: Any) -> None:
    """The client raises what its users catch."""
    try:
        answer = ask(*values, **options)
    except error:
        return
    raise AssertionError(f"not refused: {answer!r}")


AREAS = (
    agent_services, agent_checks, agent_itself, catalog, keys, blocking, transactions, sessions,
    events, queries, entries_and_intentions, coordinates_status_operator, snapshots, access,
)  # fmt: skip

if __name__ == "__main__":
    main(AREAS)
