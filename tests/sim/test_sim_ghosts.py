"""No ghosts: whatever is done to hosts and through whichever agent, the catalog ends as its owners
say it is, within two periods of anti-entropy."""

from __future__ import annotations

import pytest

from agent.local import agent as module
from tests.sim.ghosts import World


@pytest.mark.sim_runs(8)
async def test_the_catalog_ends_as_the_owners_truth(sim_seed, tmp_path, monkeypatch) -> None:
    # Who asks an agent that is cut off is answered soon.
    monkeypatch.setattr(module, "CATALOG_WAIT_S", 0.02)
    world = World(sim_seed, tmp_path)
    try:
        await world.run(steps=25)
        world.check()
    finally:
        await world.close()
