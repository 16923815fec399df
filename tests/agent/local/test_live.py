"""State, runner, aliases and history change together."""

from __future__ import annotations

import random
import time

import pytest

from agent.config.schema import AgentConfig
from agent.definitions import CheckDefinition
from agent.local.live import Live
from agent.local.registration import build_check, build_service
from raftstore.records import CheckId, ServiceId
from tests.agent.local.parts import HOST, Catalog, policy, ttl, web


@pytest.fixture
async def live():
    changes: list[int] = []
    live = Live(
        AgentConfig(node_name=HOST),
        on_change=lambda: changes.append(1),
        rng=random.Random(1),
        clock=time.monotonic,
        unix_clock=time.time,
        backend=Catalog(),
    )
    live.changes = changes
    yield live
    await live.stop()


def register(live: Live, definition) -> None:
    live.apply(build_service(definition, policy(), live.state, "remote"), {})


def register_check(live: Live, definition) -> None:
    live.apply(build_check(definition, policy(), live.state, "remote"), {})


PROBE = CheckDefinition(id=CheckId("p"), name="p", tcp="127.0.0.1:1", interval_s=3600.0)


async def test_registering_a_probe_again_does_not_put_off_its_next_run(live) -> None:
    register_check(live, PROBE)
    due = live.runner._schedule.deadline
    register_check(live, PROBE)
    assert live.runner._schedule.deadline == due


async def test_registering_a_ttl_check_again_starts_its_time_anew(live) -> None:
    register_check(live, ttl("t", ttl_s=1000.0))
    due = live.runner._schedule.deadline
    register_check(live, ttl("t", ttl_s=1000.0))
    assert live.runner._schedule.deadline > due


async def test_what_listens_for_a_service_is_dialled_at_once_when_it_changed(live) -> None:
    probe = CheckDefinition(tcp="127.0.0.1:1", interval_s=3600.0)
    register(live, web(checks=(probe,)))
    register_check(live, PROBE)
    assert live.runner._schedule.deadline > live.runner._now() + 1.0
    live.hasten(ServiceId("web"))
    assert live.runner._schedule.deadline <= live.runner._now()
    assert live.runner._schedule.due(live.runner._now())[0] == [CheckId("service:web")]


async def test_nothing_is_left_of_a_dropped_service(live) -> None:
    register(live, web(checks=(ttl("t"),)))
    live.update_ttl(CheckId("t"), "passing", "o")
    live.drop_service(ServiceId("web"))
    assert live.explain(CheckId("t")) is None
    assert len(live.runner._schedule) == 0 and not live.state.checks
    live.state.check_invariants()


async def test_an_update_tells_once_and_a_repeated_one_does_not(live) -> None:
    register_check(live, ttl("t"))
    live.update_ttl(CheckId("t"), "passing", "o")
    live.update_ttl(CheckId("t"), "passing", "o")
    assert len(live.changes) == 1


async def test_an_alias_of_a_missing_service_is_critical_in_the_recorded_words(live) -> None:
    register_check(live, CheckDefinition(name="a", alias_service=ServiceId("consul-none")))
    check = live.state.checks[CheckId("a")].record
    assert check.output == "Service consul-none could not be found on node "
    assert check.status == "critical"


async def test_changed_settings_count_at_once(live) -> None:
    register_check(live, ttl("t"))
    live.configure(AgentConfig(node_name=HOST, check_output_max_size=3))
    live.update_ttl(CheckId("t"), "passing", "abcdef")
    assert live.state.checks[CheckId("t")].record.output == "abc ... (captured 3 of 6 bytes)"
