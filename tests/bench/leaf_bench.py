"""How fast a cluster signs leaves, and whose processor time that takes.

Three servers and two client agents, on disks, with the rate limit off; every request is for another
service, so each makes a key, a signing request and a leaf. The load is 64 connections, spread over
all five agents as in a mesh, or all to one client agent.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import uvloop

from tests.bench.http_bench import CLIENTS
from tests.bench.load import Rate, http_rate, http_request
from tests.bench.session_bench import processor_s
from tests.e2e.cluster import AgentProcess, Cluster, cluster
from tests.waiting import eventually

_CONFIGURATION = "/v1/connect/ca/configuration"


def unlimited(made: Cluster) -> None:
    """Wait for the root, and take the limit away."""
    agent = made.agents[0]
    eventually(
        lambda: agent.get("/v1/connect/ca/roots").json.get("Roots"),
        within_s=30,
        what="a root certificate",
    )
    found = agent.get(_CONFIGURATION).json
    found["Config"]["CSRMaxPerSecond"] = 0
    assert agent.put(_CONFIGURATION, found).status == 200


async def load(agents: list[AgentProcess], seconds: float) -> list[Rate]:
    """Ask these agents for leaves that they have not."""
    number, run = itertools.count(), time.monotonic_ns()

    def ask(agent: AgentProcess) -> bytes:
        path = f"/v1/agent/connect/ca/leaf/s{run}-{next(number)}"
        return http_request("GET", path, agent.address)

    clients = max(1, CLIENTS // len(agents))
    return await asyncio.gather(
        *(
            http_rate(
                (agent.address, 8500), lambda agent=agent: ask(agent),
                clients=clients, seconds=seconds,
            )
            for agent in agents
        )
    )  # fmt: skip


def measured(made: Cluster, asked: list[AgentProcess], seconds: float) -> str:
    """One run as a line."""
    before = [processor_s(each) for each in made.agents]
    rates = uvloop.run(load(asked, seconds))
    count = max(1, sum(rate.count for rate in rates))
    used = [
        (processor_s(each) - was) / count * 1e6
        for each, was in zip(made.agents, before, strict=True)
    ]
    leader = made.agents.index(made.by_leader())
    servers = [at for at, each in enumerate(made.agents) if each.name.startswith("s")]
    followers = sum(used[at] for at in servers if at != leader)
    rest = sum(used) - followers - used[leader]
    return (
        f"{sum(rate.per_second for rate in rates):.0f} per s, "
        f"p99 {max(rate.p99_ms for rate in rates):.0f} ms; us of cpu a leaf: leader "
        f"{used[leader]:.0f}, followers {followers:.0f}, clients {rest:.0f}, "
        f"errors={sum(rate.errors for rate in rates)}"
    )


def bench(folder: Path, seconds: float) -> None:
    """All rows of the section."""
    with cluster(folder) as made:
        made.servers(3)
        clients = [made.add(f"c{number}").ready() for number in (1, 2)]
        unlimited(made)
        print(f"\n| {'leaves of the mesh':34} | figure")
        print(f"|{'-' * 36}|--------")
        for name, asked in (
            ("of all five agents", made.agents),
            ("of one client agent", clients[:1]),
        ):
            print(f"| {name:34} | {measured(made, asked, seconds)}", flush=True)
