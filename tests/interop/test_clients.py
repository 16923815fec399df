"""Programs written against clients of Consul do not notice whom they talk to."""

from __future__ import annotations

import pytest

from tests.e2e.cluster import AgentProcess
from tests.interop.clients import NODE_CONSUL, PY_CONSUL, PYTHON3_CONSUL, Client
from tests.interop.conftest import SECRET

pytestmark = pytest.mark.interop


def results(client: Client, agent: AgentProcess, token: str = "") -> dict[str, str]:
    if not client.there:
        pytest.skip(client.absent)
    return client.run(agent, token)


@pytest.fixture(scope="module")
def py_consul(open_agent: AgentProcess) -> dict[str, str]:
    return results(PY_CONSUL, open_agent)


@pytest.fixture(scope="module")
def py_consul_guarded(guarded_agent: AgentProcess) -> dict[str, str]:
    return results(PY_CONSUL, guarded_agent, SECRET)


@pytest.fixture(scope="module")
def python3_consul(open_agent: AgentProcess) -> dict[str, str]:
    return results(PYTHON3_CONSUL, open_agent)


@pytest.fixture(scope="module")
def node_consul(open_agent: AgentProcess) -> dict[str, str]:
    return results(NODE_CONSUL, open_agent)


@pytest.mark.parametrize("area", PY_CONSUL.areas)
def test_py_consul(area: str, py_consul: dict[str, str]) -> None:
    assert py_consul[area] == ""


@pytest.mark.parametrize("area", PY_CONSUL.areas)
def test_py_consul_with_a_token(area: str, py_consul_guarded: dict[str, str]) -> None:
    assert py_consul_guarded[area] == ""


@pytest.mark.parametrize("area", PYTHON3_CONSUL.areas)
def test_python3_consul(area: str, python3_consul: dict[str, str]) -> None:
    assert python3_consul[area] == ""


@pytest.mark.parametrize("area", NODE_CONSUL.areas)
def test_node_consul(area: str, node_consul: dict[str, str]) -> None:
    assert node_consul[area] == ""
