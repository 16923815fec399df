"""Where a ring of ours does better than the reference's rules, and that the rules can be had."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gossip.config import GossipConfig
from gossip.members import VERSIONS
from gossip.roster import MemberStatus
from gossip.wire.messages import NodeState, State
from tests.sim.gossip_net import SimAgent, SimNet, ring


def newcomer(net: SimNet, name: str, id_: str, **changes: Any) -> SimAgent:
    """A member of this name at an address of its own, that joins by n0."""
    config = GossipConfig.lan(name, tags={"id": id_}, **changes)
    agent = net.add(name, config, elsewhere=True)
    net.join(name, "n0")
    return agent


def told(net: SimNet, name: str, **tags: str) -> None:
    agent = net.agents[name]
    agent.core.set_tags(tags, net.now)
    net.settle(agent)


@pytest.mark.sim_runs(5)
@pytest.mark.parametrize(("id_", "at_least_s"), [("new", 8.0), ("old", 0.0)])
def test_a_failed_name_is_taken_by_an_agent_elsewhere(
    sim_seed: int, id_: str, at_least_s: float
) -> None:
    net = ring(sim_seed, 5)
    told(net, "n3", id="old")
    net.run(3.0)
    former = net.agents["n3"]
    net.kill("n3")
    assert net.run(60.0, lambda: net.all_see("n3", MemberStatus.FAILED)) is not None
    net.run(0.5)
    agent = newcomer(net, "n3", id_)

    def taken() -> bool:
        entries = [a.core.roster.entries["n3"] for a in net.live()]
        return net.converged() and all(e.ip == agent.address.ip for e in entries)

    # A refused claim is made again with the next push/pull at the latest.
    took = net.run(75.0, taken)
    assert took is not None
    assert took >= at_least_s
    net.run(60.0)
    assert taken()
    assert former.address != agent.address
    net.check()


@pytest.mark.sim_runs(3)
def test_peers_of_the_old_kind_follow_when_they_have_forgotten_the_dead(sim_seed: int) -> None:
    net = ring(sim_seed, 4)
    old = dataclasses.replace(GossipConfig.lan("n9"), identity_reclaim_s=0.0, push_pull_strict=True)
    net.add("n9", old)
    net.join("n9", "n0")
    assert net.run(60.0, net.converged) is not None
    told(net, "n3", id="old")
    net.run(3.0)
    net.kill("n3")
    assert net.run(60.0, lambda: net.all_see("n3", MemberStatus.FAILED)) is not None
    newcomer(net, "n3", "new")
    assert net.run(180.0, net.converged) is not None
    net.run(60.0)
    assert net.converged()
    net.check()


@pytest.mark.sim_runs(3)
def test_nobody_takes_the_name_of_a_live_member(sim_seed: int) -> None:
    net = ring(sim_seed, 5)
    told(net, "n3", id="old")
    net.run(3.0)
    holder = net.agents["n3"]
    newcomer(net, "n3", "new")
    net.agents["n3-again"] = net.agents.pop("n3")
    net.agents["n3"] = holder
    net.run(60.0)
    assert holder.running, "the vote is the holder's"
    for name in ("n0", "n1", "n2", "n4"):
        agent = net.agents[name]
        assert agent.core.roster.entries["n3"].ip == holder.address.ip
        assert agent.status_of("n3") is MemberStatus.ALIVE
        refused = agent.core.swim.refusals.get("n3")
        assert refused is None or "alive at another address" in refused.reason


def spoil(net: SimNet, name: str) -> None:
    """One member holds a record that fits nobody."""
    bad = NodeState(
        incarnation=1,
        name="odd",
        address=bytes((10, 9, 9, 9)),
        port=7946,
        meta=None,
        versions=bytes((1, 5, 2, 6, 7, 6)),
        state=State.ALIVE,
    )
    agent = net.agents[name]
    original = agent.core.local_state

    def local_state(*, join: bool) -> Any:
        state = original(join=join)
        return dataclasses.replace(state, nodes=(*state.nodes, bad))

    agent.core.local_state = local_state  # type: ignore[method-assign]


@pytest.mark.sim_runs(2)
@pytest.mark.parametrize("strict", [False, True])
def test_one_bad_record_blocks_a_join_only_by_the_references_rule(
    sim_seed: int, strict: bool
) -> None:
    net = ring(sim_seed, 4)
    spoil(net, "n0")
    net.add("n9", GossipConfig.lan("n9", push_pull_strict=strict))
    net.join("n9", "n0")
    net.run(0.2)
    joiner = net.agents["n9"]
    known = {r.name for r in joiner.core.swim.table if r.state is State.ALIVE}
    if strict:
        assert any("incompatible: [6, 5]" in line for line in net.trace)
    else:
        assert known == {"n0", "n1", "n2", "n3", "n9"}
        assert joiner.core.swim.refusals.get("odd") is not None
        assert net.run(30.0, net.converged) is not None
    assert all(len(r.versions) == len(VERSIONS) for r in joiner.core.swim.table)
