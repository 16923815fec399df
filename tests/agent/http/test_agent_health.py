"""The summed-up health of local services."""

from __future__ import annotations

import pytest

from agent.http.agent_health import aggregate
from raftstore.records import Check, CheckId
from tests.agent.http.rig import Client, Rig


def a_check(status: str, check_id: str = "c") -> Check:
    return Check(id=CheckId(check_id), status=status)


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        ([], "passing"),
        (["passing", "warning"], "warning"),
        (["warning", "critical", "passing"], "critical"),
        (["nonsense"], "critical"),
    ],
)
def test_the_worst_check_decides(states: list[str], worst: str) -> None:
    assert aggregate(a_check(state) for state in states) == worst


@pytest.mark.parametrize("check_id", ["_node_maintenance", "_service_maintenance:web"])
def test_maintenance_beats_everything(check_id: str) -> None:
    assert aggregate([a_check("critical"), a_check("critical", check_id)]) == "maintenance"


async def test_node_checks_count_and_the_worst_instance_names_the_code(
    rig: Rig, client: Client
) -> None:
    for number in (1, 2):
        definition = {
            "ID": f"w{number}",
            "Name": "web",
            "Check": {"TTL": "1m", "Status": "passing"},
        }
        await client.put("/v1/agent/service/register", definition)
    assert (await client.get("/v1/agent/health/service/name/web")).status == 200
    await client.put("/v1/agent/check/warn/service:w2:0")
    got = await client.get("/v1/agent/health/service/name/web")
    assert (got.status, got.headers["x-consul-reason"]) == (429, "warning")
    assert (await client.get("/v1/agent/health/service/id/w1")).status == 200
    await client.put("/v1/agent/maintenance?enable=true")
    got = await client.get("/v1/agent/health/service/id/w1?format=text")
    assert (got.status, got.text) == (503, "maintenance")
