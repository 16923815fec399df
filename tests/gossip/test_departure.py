"""The steps of a graceful leave."""

from __future__ import annotations

from gossip.config import GossipConfig
from gossip.departure import DEAD_TOKEN, INTENT_TOKEN, Departure, Step


def test_each_step_waits_for_its_broadcast() -> None:
    departure = Departure(GossipConfig.lan("x"))
    departure.begin(0.0, heard=True)
    assert departure.advance(0.1, heard=True) is None
    departure.spread(DEAD_TOKEN, 0.2)
    assert departure.advance(0.2, heard=True) is None, "not the one we wait for"
    departure.spread(INTENT_TOKEN, 0.3)
    assert departure.advance(0.3, heard=True) is Step.DEAD
    departure.spread(DEAD_TOKEN, 0.4)
    assert departure.advance(0.4, heard=True) is Step.PROPAGATE
    assert departure.deadline == 1.4
    assert departure.advance(1.4, heard=True) is Step.DONE
    assert departure.advance(99.0, heard=True) is None


def test_a_wait_that_runs_out_goes_on() -> None:
    departure = Departure(GossipConfig.lan("x"))
    departure.begin(0.0, heard=True)
    assert departure.advance(4.9, heard=True) is None
    assert departure.advance(5.0, heard=True) is Step.DEAD
    assert departure.advance(10.0, heard=True) is Step.PROPAGATE


def test_nobody_waits_where_nobody_hears() -> None:
    departure = Departure(GossipConfig.lan("x"))
    departure.begin(0.0, heard=False)
    assert departure.advance(0.0, heard=False) is Step.DEAD
    assert departure.advance(0.0, heard=False) is Step.DONE
