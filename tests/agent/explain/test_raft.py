"""A server's Raft explained, as JSON; made by a real node."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.errors import RequestError
from agent.explain.raft import explain_raft
from agent.metrics import AgentMetrics
from raftstore.config import StoreConfig
from raftstore.store import Store
from tests.raftstore.raft.cluster import until


async def led(config: StoreConfig) -> Store:
    store = Store(config)
    await store.start()
    store.bootstrap({config.node_id: "127.0.0.1:1"})
    await until(lambda: store.is_leader and store.applied_index)
    return store


async def test_a_server_says_why_it_leads_and_what_it_did() -> None:
    store = await led(StoreConfig(node_id="s1", yield_when_full=False))
    try:
        await store.snapshot_now()
        told: Any = explain_raft(store.operations, 1_000_000.0)
        json.dumps(told, allow_nan=False)
        assert (told["Role"], told["Leader"], told["Fatal"]) == ("leader", "s1", "")
        assert told["Why"] == "elected in term 1 by s1"
        (won,) = told["Elections"]["Last"]
        assert (won["Reason"], won["Outcome"], won["GrantedBy"]) == (
            "the only voter",
            "won",
            ["s1"],
        )
        assert won["At"].startswith("1970-01-12T13:46:") and won["SecondsAgo"] >= 0
        assert told["StepDowns"] == {
            "Count": 0,
            "ByReason": {"lost quorum": 0, "hung disk": 0, "transferred": 0, "higher term": 0},
            "Last": [],
        }
        assert told["Snapshots"]["Last"][0]["Reason"] == "asked for"
        assert told["Snapshots"]["SinceThen"]["EntriesForNext"] == 200_000
        assert told["Writes"]["Window"]["Writes"] == told["Writes"]["Count"] > 0
        assert told["Log"]["YieldWhenFull"] is False
        assert told["Disk"]["Counts"] and told["Disk"]["ID"]
    finally:
        await store.stop()


async def test_reasons_for_stepping_down_are_metrics_at_zero() -> None:
    store = await led(StoreConfig(node_id="s1"))
    try:
        metrics = AgentMetrics()
        metrics.add("raft", store.metrics)
        text = metrics.text()
        for reason in ("lost quorum", "hung disk", "transferred", "higher term"):
            assert f'lictor_raft_step_downs_by_total{{kind="{reason}"}} 0.0' in text
        assert "lictor_raft_full_handovers_total 0.0" in text
    finally:
        await store.stop()


def test_a_client_has_no_part_in_it() -> None:
    with pytest.raises(RequestError) as error:
        explain_raft(None, 0.0)
    assert error.value.status == 404
