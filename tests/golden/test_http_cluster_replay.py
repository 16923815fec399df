"""The recorded HTTP scenarios through a client agent of three servers: what does not depend on the
single server that was recorded is answered alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import AgentProcess, cluster
from tests.golden.test_http_replay import NOT_YET, SCENARIOS, replay
from tests.waiting import eventually

#: Scenarios that tell of the one server that is leader, node and agent alike.
OF_ONE_SERVER = {
    "agent-check-types": "a check shows the leader's address, which is the agent's own",
    "agent-node-maintenance": "the agent's node is the only one with the service consul",
    "agent-self-members": "the agent is a server and the only member",
    "http-status": "the agent leads and is the only peer",
    "kv-consistency": "a stale read follows a write at once: another server may not have it yet",
    "operator": "the agent is the only server, and alone in the ring",
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        made.servers(3)
        agent = made.add("gold-host").ready()

        def registered() -> bool:
            nodes = agent.get("/v1/health/state/passing").json
            return len({check["Node"] for check in nodes}) == 4

        eventually(registered, within_s=30, what="all four nodes are in the catalog")
        yield agent


@pytest.mark.e2e
@pytest.mark.replay
@pytest.mark.parametrize(
    "name", [name for name in SCENARIOS if name not in OF_ONE_SERVER and name not in NOT_YET]
)
def test_a_client_of_three_servers_answers_as_recorded(name: str, client: AgentProcess) -> None:
    assert replay(f"http://{client.address}:8500", name) == []


def test_only_known_scenarios_are_left_out() -> None:
    assert set(OF_ONE_SERVER) <= set(SCENARIOS)
