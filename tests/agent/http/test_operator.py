"""`/v1/operator/`: what clients see of the servers, and what is refused."""

from __future__ import annotations

import pytest

from agent.durations import parse_s
from raftstore.commands import SetAutopilot
from raftstore.queries import GetAutopilot
from raftstore.records import AutopilotConfig
from tests.agent.http.rig import NODE_ID, Client, Rig

PATH = "/v1/operator/autopilot/configuration"


async def test_the_configuration_is_shown_also_before_a_leader_has_written_it(
    client: Client,
) -> None:
    shown = (await client.get(PATH)).json
    assert (shown["CleanupDeadServers"], shown["LastContactThreshold"]) == (True, "200ms")
    assert (shown["MaxTrailingLogs"], shown["ServerStabilizationTime"]) == (250, "10s")


async def test_a_body_is_the_whole_configuration(rig: Rig, client: Client) -> None:
    body = {"CleanupDeadServers": True, "LastContactThreshold": "1s", "MinQuorum": 3}
    assert (await client.put(PATH, body)).json is True
    stored = rig.backend.state.answer(GetAutopilot()).value
    assert (stored.last_contact_threshold_s, stored.min_quorum) == (1.0, 3)
    assert (stored.max_trailing_logs, stored.server_stabilization_time_s) == (0, 0.0)


async def test_a_write_compares_with_the_index_that_was_read(rig: Rig, client: Client) -> None:
    await rig.backend.change(SetAutopilot(config=AutopilotConfig()))
    read = (await client.get(PATH)).json
    body = {**read, "MinQuorum": 5}
    assert (await client.put(f"{PATH}?cas=1", body)).json is False
    assert (await client.put(f"{PATH}?cas={read['ModifyIndex']}", body)).json is True
    assert (await client.get(PATH)).json["MinQuorum"] == 5


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"MinQuorum": -1}, "min_quorum cannot be negative"),
        ({"LastContactThreshold": "-1s"}, "last_contact_threshold cannot be negative"),
        ({"MinQuorum": "1"}, "json: cannot unmarshal string"),
        ({"Surprise": 1}, 'json: unknown field "Surprise"'),
        ([], "json: cannot unmarshal array"),
    ],
)
async def test_a_configuration_that_makes_no_sense_changes_nothing(
    rig: Rig, client: Client, body: object, reason: str
) -> None:
    got = await client.put(PATH, body)
    assert got.status == 400
    assert got.text.startswith(f"Bad request: Error parsing autopilot config: {reason}")
    assert rig.backend.state.answer(GetAutopilot()).value is None


async def test_health_of_a_cluster_that_is_not_well_is_429(rig: Rig, client: Client) -> None:
    assert (await client.get("/v1/operator/autopilot/health")).status == 200
    rig.operations.healthy = False
    got = await client.get("/v1/operator/autopilot/health")
    assert (got.status, got.json["Healthy"]) == (429, False)
    (server,) = got.json["Servers"]
    assert server["StableSince"] == "2023-11-14T22:13:20Z"
    assert parse_s(server["LastContact"]) == 0


async def test_the_state_says_what_the_others_wait_for(client: Client) -> None:
    shown = (await client.get("/v1/operator/autopilot/state")).json
    assert shown["Voters"] == [NODE_ID]
    assert shown["Servers"][NODE_ID]["Status"] == "leader"
    assert shown["Waiting"] == {"other": "not in the Raft configuration yet"}


async def test_a_server_is_removed_by_id_or_by_address(rig: Rig, client: Client) -> None:
    path = "/v1/operator/raft/peer"
    assert (await client.ask("DELETE", f"{path}?id={NODE_ID}")).status == 200
    assert (await client.ask("DELETE", f"{path}?address=127.0.0.1:8300")).status == 200
    assert rig.operations.asked == [("remove", NODE_ID), ("remove", "127.0.0.1:8300")]
    got = await client.ask("DELETE", f"{path}?id=x")
    assert (got.status, got.text) == (500, 'id "x" was not found in the Raft configuration')


async def test_leadership_is_handed_over(rig: Rig, client: Client) -> None:
    got = await client.ask("POST", "/v1/operator/raft/transfer-leader?id=x")
    assert (got.status, got.json) == (200, {"Success": True})
    assert rig.operations.asked == [("transfer", "x")]
