"""What a program written against python-consul (Debian's python3-consul) does, area by area.

Run by `tests/interop/test_clients.py` with the system's Python; see `script_py_consul.py`.
"""

from __future__ import annotations

import threading
import uuid
from typing import Any

import consul
from script_running import Agent, eventually, main

Check = consul.Check


def client(agent: Agent) -> Any:
    """The client, told where the agent is."""
    return consul.Consul(host=agent.host, port=agent.port, token=agent.token or None)


def services(agent: Agent) -> None:
    c = client(agent)
    assert c.agent.service.register(
        "old", service_id="old-1", address="10.0.0.8", port=81, tags=["x"], check=Check.ttl("30s")
    )
    assert c.agent.services()["old-1"]["Tags"] == ["x"]
    # It asks for the rest of the agent's changes with GET, which Consul has refused since 1.0.
    assert agent.put("/v1/agent/check/pass/service:old-1")
    eventually(lambda: c.health.service("old", passing=True)[1])
    assert [n["ServiceID"] for n in c.catalog.service("old", tag="x")[1]] == ["old-1"]
    assert [check["CheckID"] for check in c.health.checks("old")[1]] == ["service:old-1"]
    assert c.agent.service.maintenance("old-1", "true", "why")
    assert c.agent.checks()["_service_maintenance:old-1"]["Notes"] == "why"
    assert c.agent.service.maintenance("old-1", "false")
    assert agent.put("/v1/agent/service/deregister/old-1")
    eventually(lambda: not c.health.service("old")[1])


def checks(agent: Agent) -> None:
    c = client(agent)
    assert c.agent.check.register("old-check", Check.ttl("30s"), notes="of the host")
    assert c.agent.checks()["old-check"]["Notes"] == "of the host"
    eventually(lambda: "old-check" in [x["CheckID"] for x in c.health.state("critical")[1]])
    assert agent.put("/v1/agent/check/deregister/old-check")


def itself(agent: Agent) -> None:
    c = client(agent)
    assert c.agent.self()["Member"] in c.agent.members()
    assert c.agent.maintenance("true", "moving") and c.agent.maintenance("false")
    assert c.status.leader() in c.status.peers()
    assert c.coordinate.datacenters() and isinstance(c.coordinate.nodes()[1], list)
    assert [server["Leader"] for server in c.operator.raft_config()["Servers"]] == [True]


def catalog(agent: Agent) -> None:
    c = client(agent)
    assert c.catalog.register("o1", "10.2.0.1", service={"service": "so"}, check={"name": "c"})
    assert "o1" in [node["Node"] for node in c.catalog.nodes()[1]]
    assert c.catalog.services()[1]["so"] == []
    assert set(c.catalog.node("o1")[1]["Services"]) == {"so"}
    assert c.catalog.datacenters() == ["dc1"]
    try:
        c.catalog.nodes(dc="dc2")
    except consul.ConsulException:
        pass
    else:
        raise AssertionError("a foreign datacenter answers")
    assert c.catalog.deregister("o1")


def keys(agent: Agent) -> None:
    c = client(agent)
    assert c.kv.get("o/none")[1] is None
    assert c.kv.put("o/a", "text", flags=3) and c.kv.put("o/b", "")
    found = c.kv.get("o/a")[1]
    assert (found["Value"], found["Flags"]) == (b"text", 3)
    assert c.kv.get("o/b")[1]["Value"] is None
    assert c.kv.get("o/", keys=True)[1] == ["o/a", "o/b"]
    assert c.kv.put("o/a", "no", cas=1) is False
    assert c.kv.put("o/a", "yes", cas=found["ModifyIndex"]) is True
    index = c.kv.get("o/a")[0]
    timer = threading.Timer(0.2, lambda: client(agent).kv.put("o/a", "later"))
    timer.start()
    assert c.kv.get("o/a", index=index, wait="20s")[1]["Value"] == b"later"
    timer.join()
    assert c.kv.delete("o/", recurse=True) is True


def sessions(agent: Agent) -> None:
    c = client(agent)
    held = c.session.create("old", behavior="delete", ttl=20)
    # What the client's own users ask for: 36 characters that are hexadecimal, though no UUID.
    assert c.session.info("1" * 36)[1] is None
    for absent in ("1" * 36, str(uuid.uuid4())):
        try:
            c.session.renew(absent)
        except consul.NotFound:
            continue
        raise AssertionError(f"{absent} was renewed")
    assert c.session.info(held)[1]["Name"] == "old"
    assert c.kv.put("old-lock", "1", acquire=held) is True
    assert c.session.renew(held)["TTL"] == "20s"
    assert c.session.destroy(held) is True
    assert c.kv.get("old-lock")[1] is None


def events_and_queries(agent: Agent) -> None:
    c = client(agent)
    fired = c.event.fire("old-event", "body")
    eventually(lambda: fired["ID"] in [event["ID"] for event in c.event.list("old-event")[1]])
    made = c.query.create("consul", name="old-query")
    assert c.query.get(made["ID"])
    found = c.query.execute("old-query")["Nodes"]
    assert [n["Service"]["Service"] for n in found] == ["consul"], found
    assert c.query.explain("old-query")["Query"]
    assert c.query.delete(made["ID"])


AREAS = (services, checks, itself, catalog, keys, sessions, events_and_queries)

if __name__ == "__main__":
    main(AREAS)
