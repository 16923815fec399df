"""Agents that the foreign programs talk to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import AgentProcess, cluster
from tests.waiting import eventually

HERE = Path(__file__).parent
#: Foreign programs begin slowly on a busy machine; a test that knows better says so itself.
TIMEOUT_S = 240

#: The secret of the agent with access control.
SECRET = "b1d7a3e0-5a52-4c0c-9d1c-0d6f3a1e8f11"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def open_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """A development agent without access control."""
    with cluster(tmp_path_factory.mktemp("open")) as made:
        yield made.add("open", "-dev").ready()


@pytest.fixture(scope="session")
def guarded_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """A development agent with access control, where SECRET may do everything.

    It allows what no rule denies: for many of its requests py-consul does not send its token.
    """
    folder = tmp_path_factory.mktemp("guarded")
    config = folder / "acl.json"
    acl = {"enabled": True, "default_policy": "allow", "tokens": {"initial_management": SECRET}}
    config.write_text(json.dumps({"primary_datacenter": "dc1", "acl": acl}))
    with cluster(folder) as made:
        agent = made.add("guarded", "-dev", f"-config-file={config}").ready()
        own = {"X-Consul-Token": SECRET}
        eventually(lambda: agent.get("/v1/acl/token/self", headers=own).status == 200, within_s=20)
        node = f"/v1/catalog/node/{agent.name}"
        eventually(lambda: agent.get(node, headers=own).json, within_s=20)
        yield agent
