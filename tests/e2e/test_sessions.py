"""Locks whose holder dies, and TTLs whose leader dies, on real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import AgentProcess, Cluster, cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.timeout(120)]

#: Hosts are found dead quickly, and TTLs may be short.
QUICK = """-hcl=session_ttl_min = "1s"
gossip_lan { probe_interval = "200ms" probe_timeout = "100ms" gossip_interval = "50ms"
suspicion_mult = 3 }"""
LOCK_DELAY_S = 2.0
TTL_S = 3.0


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three servers and a client agent, found dead quickly; the tests kill some, in order."""
    with cluster(tmp_path_factory.mktemp("sessions")) as made:
        for i in (1, 2, 3):
            made.add(f"s{i}", "-server", "-bootstrap-expect=3", QUICK)
        made.add("c1", QUICK)
        for agent in made.agents:
            agent.ready()
        for agent in made.agents:
            eventually(lambda a=agent: has_serf_health(a), within_s=15)
        yield made


def session(agent: AgentProcess, **fields: Any) -> str:
    return str(agent.put("/v1/session/create", fields).json["ID"])


def holder(agent: AgentProcess, key: str) -> str | None:
    """Who holds a key; "" for nobody, None when it is not there."""
    found = agent.get(f"/v1/kv/{key}")
    return None if found.status == 404 else found.json[0].get("Session", "")


def has_serf_health(agent: AgentProcess) -> bool:
    checks = agent.get(f"/v1/health/node/{agent.name}").json
    return any(c["CheckID"] == "serfHealth" and c["Status"] == "passing" for c in checks)


def test_a_ttl_outlives_its_leader_and_then_ends(agents: Cluster) -> None:
    other = agents.agents[-1]  # the client agent
    mine = session(other, TTL=f"{TTL_S:.0f}s", NodeChecks=[], LockDelay="0s")
    assert other.put(f"/v1/kv/led?acquire={mine}", b"1").json is True
    leader = agents.by_leader()
    assert other.put(f"/v1/session/renew/{mine}").json[0]["ID"] == mine
    leader.kill()
    agents.agents.remove(leader)
    killed = time.monotonic()
    # Held over the election, and confirmed by the new leader.
    assert other.put(f"/v1/session/renew/{mine}").json[0]["ID"] == mine
    renewed = time.monotonic()
    led_by = other.leader()
    clock = other.get(f"/v1/explain/session/{mine}").json["Clock"]
    assert clock["Leader"] != leader.name and 0 < clock["LeftS"] <= TTL_S * 1.05
    eventually(lambda: holder(other, "led") == "", within_s=15)
    lived = time.monotonic() - renewed
    assert lived >= TTL_S - (renewed - killed)  # counted from the arrival, after the kill
    if other.leader() == led_by:
        assert lived <= TTL_S * 1.1 + 1.0, "a busy machine may take a second, not more"
    answer = other.request("PUT", f"/v1/session/renew/{mine}")
    assert (answer.status, answer.body.decode()) == (404, f"Session id '{mine}' not found")
    assert other.get(f"/v1/explain/session/{mine}").json["Cause"] == "TTL expired"


def test_the_locks_of_a_killed_host_are_freed_after_their_delay(agents: Cluster) -> None:
    other, doomed = agents.agents[0], agents.agents[-1]
    delay = f"{LOCK_DELAY_S}s"
    held = {
        behavior: session(doomed, Behavior=behavior, LockDelay=delay)
        for behavior in ("release", "delete")
    }
    for behavior, its in held.items():
        assert doomed.put(f"/v1/kv/lock/{behavior}?acquire={its}", b"mine").json is True
        assert holder(other, f"lock/{behavior}") == its
    mine = session(other, LockDelay="0s")
    assert other.put(f"/v1/kv/lock/release?acquire={mine}", b"no").json is False

    doomed.kill()
    eventually(lambda: holder(other, "lock/release") == "", within_s=20)
    freed = time.monotonic()
    assert holder(other, "lock/delete") is None
    explained = other.get(f"/v1/explain/session/{held['release']}").json
    assert explained["Cause"] == 'check "serfHealth" on node "c1" turned critical'
    assert "ended" in other.cli("explain", "session", held["delete"])
    first = {key: other.put(f"/v1/kv/lock/{key}?acquire={mine}", b"x").json for key in held}
    assert first == {"release": False, "delete": False} or time.monotonic() > freed + 1.0
    for key in held:
        eventually(
            lambda k=key: other.put(f"/v1/kv/lock/{k}?acquire={mine}", b"x").json, within_s=10
        )
        # Our look at the freed key was later than its freeing by a little.
        assert time.monotonic() - freed > LOCK_DELAY_S - 1.0
        assert holder(other, f"lock/{key}") == mine
