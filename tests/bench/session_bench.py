"""Ten thousand sessions with a TTL on one server: what a renewal costs, and how all of them end.

A machine too busy to make them within ``CREATE_MAX_S`` is measured with fewer; the table says so.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import uvloop

from tests.bench.http_bench import CLIENTS
from tests.bench.load import Rate, http_rate, http_request
from tests.e2e.cluster import AgentProcess, cluster

SESSIONS = 10_000
TTL_S = 60
#: Less than the TTL, or the first are gone before the last are there.
CREATE_MAX_S = 40.0


def create(agent: AgentProcess) -> list[str]:
    """The sessions; gives their ids."""
    body = json.dumps({"NodeChecks": [], "TTL": f"{TTL_S}s", "LockDelay": "0s"}).encode()
    request = http_request("PUT", "/v1/session/create", agent.address, body)
    ids: list[str] = []
    began = time.perf_counter()
    while len(ids) < SESSIONS and time.perf_counter() - began < CREATE_MAX_S:
        uvloop.run(http_rate((agent.address, 8500), lambda: request, clients=CLIENTS, seconds=2.0))
        ids = [one["ID"] for one in agent.get("/v1/session/list").json]
    return ids


def processor_s(agent: AgentProcess) -> float:
    """Processor time of an agent since its start."""
    assert agent.process is not None
    fields = Path(f"/proc/{agent.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def renew(agent: AgentProcess, ids: list[str], seconds: float) -> Rate:
    """Renew them in turn."""
    turn = itertools.cycle(
        [http_request("PUT", f"/v1/session/renew/{one}", agent.address) for one in ids]
    )
    return uvloop.run(
        http_rate((agent.address, 8500), lambda: next(turn), clients=CLIENTS, seconds=seconds)
    )


def holds(agent: AgentProcess) -> Any:
    """What held the agent's loop for too long, the last first."""
    return agent.get("/v1/explain/loop").json


def counted(agent: AgentProcess) -> int:
    """TTLs that the leader counts now."""
    text = agent.get("/v1/agent/metrics?format=prometheus").body.decode()
    line = next(one for one in text.splitlines() if one.startswith("lictor_sessions_timers_held "))
    return int(float(line.split()[1]))


def bench(folder: Path, seconds: float) -> None:
    """All rows of the section."""
    with cluster(folder) as agents:
        server = agents.servers(1)[0]
        client = agents.add("c1").ready()
        ids = create(server)
        print(f"\n| {f'sessions with a TTL: {len(ids)}':34} | figure")
        print(f"|{'-' * 36}|--------")
        for name, agent in (("the leader", server), ("a client agent", client)):
            before, rate = processor_s(server), renew(agent, ids, seconds)
            cpu_us = (processor_s(server) - before) / max(1, rate.count) * 1e6
            row(
                f"renewed through {name}",
                f"{rate.per_second:.0f} per s, p50 {rate.p50_ms:.2f} ms, p99 {rate.p99_ms:.2f} ms, "
                f"{cpu_us:.0f} us of the leader's processor each, errors={rate.errors}",
            )
        renewed, before, held = time.perf_counter(), processor_s(server), holds(server)["Over"]
        while counted(server) and time.perf_counter() - renewed < 2 * TTL_S:
            time.sleep(0.2)
        lived, used = time.perf_counter() - renewed, processor_s(server) - before
        row(f"all ended, TTL {TTL_S} s", f"{lived:.1f} s after the last renewal")
        row("the leader's processor meanwhile", f"{used / len(ids) * 1e6:.0f} us a session")
        seen = holds(server)
        row("holds of the loop over 10 ms", f"{seen['Over'] - held}, worst {seen['HighestMs']} ms")
        for hold in seen["Holds"][:3]:
            row("", f"{hold['HeldMs']} ms {hold['What']} {hold['Stack'][-1:]}")


def row(name: str, figure: str) -> None:
    """One line."""
    print(f"| {name:34} | {figure}", flush=True)
