"""Rings that change their key under traffic, with loss and crashes: nobody is cut off (G17)."""

from __future__ import annotations

import pytest

from gossip.asking import Question
from gossip.config import GossipConfig
from gossip.effects import QueryReplied
from gossip.roster import MemberStatus
from gossip.rotation import Ask, KeyOperation, KeyReport, Rotation
from tests.sim.gossip_net import SimNet, ring

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
STEPS = ((KeyOperation.INSTALL, NEW), (KeyOperation.USE, NEW), (KeyOperation.REMOVE, OLD))
REPEATS_MAX = 5


def operate(net: SimNet, asker: str, operation: KeyOperation, key: bytes) -> KeyReport:
    """One operation from one member, while the ring's time passes."""
    agent = net.agents[asker]
    rotation = Rotation(operation, key)

    def live() -> list[str]:
        members = agent.core.roster.entries.values()
        return [m.name for m in members if m.status is MemberStatus.ALIVE]

    ask: Ask | None = rotation.start(live())
    while ask is not None:
        question = Question(name=ask.name, payload=ask.payload, nodes=ask.nodes)
        query = agent.core.queries.ask(question, agent.core.tags, net.now)
        net.settle(agent)
        over = False
        while not over and rotation.missing:
            net.run(10.0, until=lambda: bool(net.news))
            news, net.news = net.news, []
            for _, effect in news:
                if (effect.ltime, effect.id) != query:
                    continue
                if isinstance(effect, QueryReplied):
                    rotation.answer(effect.sender, effect.payload or b"")
                else:
                    over = True
        agent.core.queries.asking.close(*query)
        ask = rotation.round_over(live())
    return rotation.report()


def rotate(net: SimNet) -> int:
    """All steps from different members, each until it has worked; gives the repeats."""
    repeats = 0
    for number, (operation, key) in enumerate(STEPS):
        for agent in net.live():
            agent.core.user_event(f"e{number}-{agent.name}", b"x", coalesce=False, now=net.now)
            net.settle(agent)
        while not (report := operate(net, f"n{number}", operation, key)).ok:
            repeats += 1
            assert repeats <= REPEATS_MAX, report.messages
    return repeats


def encrypted(seed: int, size: int, loss: float) -> SimNet:
    net = ring(seed, size, loss=loss, config=GossipConfig.lan("profile", keys=(OLD,)))
    net.trace.clear()
    net.news.clear()
    return net


@pytest.mark.sim_runs(2)
@pytest.mark.parametrize(("size", "loss"), [(5, 0.0), (5, 0.1), (8, 0.1)])
def test_a_rotation_under_traffic_and_loss_loses_nobody(
    sim_seed: int, size: int, loss: float
) -> None:
    net = encrypted(sim_seed, size, loss)
    repeats = rotate(net)
    assert repeats == 0 or loss
    net.run(30.0)
    assert net.converged()
    assert {agent.framing.keyring.keys for agent in net.live()} == {(NEW,)}
    assert not [line for line in net.trace if " failed " in line]
    lost = sum(agent.stats.dropped.get("undecryptable", 0) for agent in net.live())
    assert lost <= size  # what was on its way when the old key went


@pytest.mark.sim_runs(2)
def test_a_crash_in_the_middle_holds_nothing_up(sim_seed: int) -> None:
    net = encrypted(sim_seed, 5, 0.0)
    assert operate(net, "n0", *STEPS[0]).ok
    net.kill("n4")
    while not (report := operate(net, "n0", *STEPS[1])).ok:
        assert set(report.silent) == {"n4"}
        assert all(agent.framing.keyring.keys[0] == OLD for agent in net.live())
    assert operate(net, "n1", *STEPS[2]).ok
    net.run(30.0)
    assert {agent.framing.keyring.keys for agent in net.live()} == {(NEW,)}
    assert net.all_see("n4", MemberStatus.FAILED)
    assert not [line for line in net.trace if " failed " in line and " failed n4" not in line]
