"""What the agent hears from its member of the ring."""

from __future__ import annotations

from pathlib import Path

from agent.gossiping import make_gossip
from agent.metrics import AgentMetrics
from gossip.effects import NameLost
from tests.agent.http.rig import make_config


async def nobody(_payload: bytes) -> bytes | None:
    return None


async def test_an_agent_that_lost_its_name_is_told_to_stop(tmp_path: Path) -> None:
    told: list[str] = []
    config = make_config(data_dir=str(tmp_path))
    member, _ = make_gossip(
        config,
        AgentMetrics(),
        on_member=lambda event: None,
        on_lost=told.append,
        clients=nobody,
    )
    member._effect(NameLost("web-1"))
    assert told == ["the ring knows another agent named 'web-1'"]
    await member.stop()
    assert (tmp_path / "serf").is_dir()
