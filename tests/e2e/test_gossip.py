"""Gossip among real agents where it goes beyond the reference: agents that were stopped, names of
the dead, members that speak something else. One cluster, told its story in order."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from gossip.wire import messages
from gossip.wire.messages import Alive
from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.calm, pytest.mark.timeout(120)]

QUICK = """gossip_lan {
  probe_interval = "300ms"
  probe_timeout = "200ms"
  gossip_interval = "50ms"
  identity_reclaim_time = "1s"
}
telemetry { prometheus_retention_time = "1m" }"""


def listed(asked: AgentProcess, name: str) -> dict[str, Any]:
    """A member as an agent shows it; Status 1 is alive, 4 failed."""
    members = asked.get("/v1/agent/members").json
    return next(m for m in members if m["Name"] == name)


def serf_health(asked: AgentProcess, name: str) -> str:
    checks = asked.get(f"/v1/health/node/{name}").json
    return next((str(c["Status"]) for c in checks if c["CheckID"] == "serfHealth"), "")


def counter(asked: AgentProcess, name: str) -> float:
    text = asked.get("/v1/agent/metrics?format=prometheus").body.decode()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name)))


def test_stopped_dead_and_odd_members(fresh: Cluster, tmp_path: Path) -> None:
    flags = (f"-hcl={QUICK}",)
    server = fresh.add("s1", "-server", "-bootstrap-expect=1", *flags).ready()
    stopped, doomed = fresh.add("c1", *flags).ready(), fresh.add("c2", *flags).ready()
    eventually(lambda: len(stopped.get("/v1/agent/members").json) == 3, within_s=10)
    eventually(lambda: serf_health(server, "c1") == "passing", within_s=10)

    # Stopped, and called failed by the others; when it goes on it calls nobody failed.
    stopped.signal(signal.SIGSTOP)
    eventually(lambda: serf_health(server, "c1") == "critical", within_s=20)
    stopped.signal(signal.SIGCONT)
    for asked in (server, doomed):
        eventually(lambda a=asked: listed(a, "c1")["Status"] == 1, within_s=35)
    eventually(lambda: serf_health(server, "c1") == "passing", within_s=10)
    assert counter(stopped, "lictor_gossip_stalls_total") >= 1
    assert "member failed" not in stopped.log
    told = server.get("/v1/explain/member/c1").json["Gossip"]
    dead = next(t for t in told["Transitions"] if t["State"] == "dead")
    assert {voice["Accuser"] for voice in dead["Suspicion"]["Heard"]} <= {"s1", "c2"}
    assert dead["Suspicion"]["RingSize"] == 3

    # One speaks something else: it alone stays out.
    odd = Alive(
        incarnation=1,
        node="odd",
        address=socket.inet_aton(stopped.address),
        port=9,
        meta=None,
        versions=bytes((1, 5, 2, 6, 7, 6)),
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((stopped.address, 0))
        sender.sendto(messages.encode(odd), (server.address, 8301))
    eventually(
        lambda: "delegate protocol version (6)" in server.cli("explain", "member", "odd"),
        within_s=5,
    )

    # A new agent takes the name of a dead one, elsewhere.
    old_id = server.get("/v1/catalog/node/c2").json["Node"]["ID"]
    doomed.kill()
    eventually(lambda: serf_health(server, "c2") == "critical", within_s=20)
    heir = AgentProcess("c2", tmp_path / "heir", f"-retry-join={server.address}", *flags)
    fresh.agents.append(heir)
    heir.start().ready()

    def inherited() -> bool:
        node = server.get("/v1/catalog/node/c2").json["Node"]
        return bool(node["Address"] == heir.address and node["ID"] != old_id)

    # An heir that comes within identity_reclaim_time is let in with the next push/pull (30 s).
    eventually(inherited, within_s=40)
    eventually(lambda: serf_health(server, "c2") == "passing", within_s=45)
    assert listed(server, "c2")["Addr"] == heir.address
