"""The experiments of `make sim-gossip` in small: whole rings of a hundred, in seconds."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.config import GossipConfig
from gossip.members import Record
from gossip.wire.messages import State
from tests.gossip_lab import __main__ as lab
from tests.gossip_lab import (
    accused,
    churning,
    disasters,
    failures,
    false_alarms,
    lives,
    more_sections,
    places,
    probe_theory,
    report,
    sections,
    spreading,
    steady,
)
from tests.gossip_lab.false_alarms import Anomaly, Cell
from tests.gossip_lab.layers import Layered
from tests.gossip_lab.ring import Ring, lognormal

STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "delete"]), st.sampled_from("abcde"), st.integers(1, 9)),
    max_size=20,
)


@given(STEPS)
def test_layers_behave_as_one_mapping_and_leave_the_base_alone(
    steps: list[tuple[str, str, int]],
) -> None:
    base = {"a": 1, "b": 2, "c": 3}
    layered, plain = Layered(base), dict(base)
    for verb, name, value in steps:
        if verb == "set":
            layered[name] = plain[name] = value
        elif name in plain:
            del layered[name], plain[name]
        else:
            with pytest.raises(KeyError):
                del layered[name]
        assert dict(layered) == plain
        assert sorted(layered.values()) == sorted(plain.values())
        assert len(layered) == len(plain)
        assert [layered.get(n) for n in "abcde"] == [plain.get(n) for n in "abcde"]
        assert [n in layered for n in "abcde"] == [n in plain for n in "abcde"]
    assert base == {"a": 1, "b": 2, "c": 3}


@pytest.mark.sim_runs(2)
def test_a_hundred_members_learn_of_a_crash_in_time(sim_seed: int) -> None:
    (failure,) = failures.crashes(sim_seed, 100, 1)
    assert not failure.missed
    expected = failures.expected_detection_s(100, GossipConfig.lan("x"))
    assert expected - 2.0 <= failure.detect_first <= expected + 6.0
    assert failure.spread(0.99) <= 1.4, "Serf's own simulator needs seven rounds"
    assert failure.spread(1.0) <= 2.0


@pytest.mark.sim_runs(1)
def test_a_crash_is_known_to_all_in_spite_of_loss(sim_seed: int) -> None:
    (failure,) = failures.crashes(sim_seed, 50, 1, loss=0.25, delay=lognormal)
    assert not failure.missed


def test_a_quiet_member_sends_as_much_in_a_small_ring_as_in_a_large_one() -> None:
    for size in (10, 120):
        load = steady.quiet(1, size, 10.0)
        assert load.packets == pytest.approx(2.0, abs=0.02)
        # A ping of 61 bytes with names of two letters, an ack with a coordinate of 150.
        assert 205 <= load.packet_bytes <= 230


@pytest.mark.sim_runs(2)
def test_news_reach_everybody_and_no_copy_is_wasted(sim_seed: int) -> None:
    spread = spreading.tag_change(sim_seed, 100)
    assert spread.missed == 0
    assert spread.at(0.99) <= 1.4
    assert spread.copies <= 12.0, "4 * ceil(log10(101))"


@pytest.mark.parametrize(("delivered", "helpers"), [(0.9, 1), (0.8, 3)])
def test_probes_fail_as_often_as_the_formula_says(delivered: float, helpers: int) -> None:
    found = probe_theory.failures(1, delivered, helpers, size=40, seconds=15.0)
    assert found.probes > 500
    assert abs(found.standard_errors) < 4.0, found


@pytest.mark.sim_runs(1)
def test_lifeguard_keeps_blocked_members_from_calling_others_dead(sim_seed: int) -> None:
    cell = Cell(held=3, seconds=14.0)
    plain = false_alarms.alarms(sim_seed, cell, Anomaly.BLOCKED, "SWIM", size=32)
    full = false_alarms.alarms(sim_seed, cell, Anomaly.BLOCKED, "Lifeguard", size=32)
    assert plain.about_healthy >= 50
    assert full.about_healthy == 0
    assert full.about_held > 0, "who is silent for so long is called dead all the same"


@pytest.mark.sim_runs(1)
def test_a_process_that_stood_still_calls_nobody_dead(sim_seed: int) -> None:
    cell = Cell(held=3, seconds=20.0)
    found = false_alarms.alarms(sim_seed, cell, Anomaly.STOPPED, "Lifeguard", size=20)
    assert found.about_healthy == 0


@pytest.mark.sim_runs(1)
def test_members_share_what_they_agree_on_and_end_with_the_same_table(sim_seed: int) -> None:
    ring = Ring(sim_seed, 40)
    ring.crash("n3")
    ring.run(30.0)
    tables: list[dict[str, tuple[int, State]]] = []
    for member in ring.live():
        member.core.check()
        records: list[Record] = list(member.core.swim.table)
        tables.append({r.name: (r.incarnation, r.state) for r in records})
        own = member.core.swim.table.records
        assert isinstance(own, Layered)
        assert set(own.own) <= {member.name, "n3"}, "the others are the base's"
    assert all(table == tables[0] for table in tables)
    assert tables[0]["n3"] == (1, State.DEAD)


def test_one_seed_gives_one_run() -> None:
    def run(seed: int) -> str:
        ring = Ring(seed, 20, loss=0.1, delay=lognormal)
        ring.crash("n7")
        ring.stop("n2", 3.0)
        ring.block("n4", 3.0)
        ring.run(20.0)
        return ring.digest()

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_results_become_tables_and_plots(tmp_path: Path) -> None:
    found = failures.crashes(1, 5, 1)
    row = sections.failure_row(5, 0.0, found, cpu_s=1.0)
    done = {"seed": 1, "command": "command", "rows": [row]}
    (tmp_path / "failure.json").write_text(report.dumps(done))
    assert "| 5 | 0% | 1 |" in report.write(tmp_path)
    for name in ("detection", "dissemination"):
        picture = ElementTree.parse(tmp_path / f"{name}.svg")
        assert "members" in "".join(picture.getroot().itertext())


def test_rows_of_several_seeds_become_one_with_their_range() -> None:
    rows = [{"seed": seed, "size": 5, "after": after} for seed, after in ((1, 0.5), (2, 2.0))]
    rows.append({"seed": 3, "size": 5, "after": 1.0})
    assert report.plain(rows, "size").splitlines()[-1] == "| 5 | 1.00 (0.50 to 2.00) | 3 |"
    assert report.plain(rows[:1], "size").splitlines()[-1] == "| 5 | 0.50 |"


def test_cells_that_are_run_again_take_the_place_of_their_rows(tmp_path: Path) -> None:
    before = [{"seed": 1, "size": 5, "part": part, "left": 0} for part in (0.1, 0.2)]
    path = tmp_path / "churns.json"
    path.write_text(report.dumps({"seed": 1, "rows": list(before)}))
    after = [{"seed": 1, "size": 5, "part": 0.2, "left": 7}, {"seed": 2, "size": 5, "part": 0.2}]
    assert lab.kept("churns", path, after) == [before[0], *after]
    assert lab.kept("churns", tmp_path / "none.json", after) == after
    assert more_sections.rows("links", 1, 10, {"size": "11"}) == []


def test_a_member_that_stalls_is_suspected_in_a_mixed_ring_and_hears_of_it() -> None:
    found = accused.accused(1, 2, True, "lan", 2.0)
    assert found.suspected > 0
    assert found.called_dead == found.by_ours_first == 0


@pytest.mark.sim_runs(1)
def test_disasters_in_small(sim_seed: int) -> None:
    crash = disasters.mass_crash(sim_seed, 20, 0.3)
    assert (crash.missed, crash.about_the_living) == (0, 0)
    saved = disasters.one_way(sim_seed, 10, "no UDP to or from n1", 40.0)
    assert saved.about_healthy == saved.about_sick == 0
    assert saved.saved_by_tcp
    slow = disasters.overloaded(sim_seed, 16, 1, "Lifeguard", newest_first=True, seconds=20.0)
    assert slow.healthy_about_healthy == 0
    paused = disasters.pause(sim_seed, 10, 5.0)
    assert paused.called_dead_by_it == 0
    assert paused.alive_again < 5.0


@pytest.mark.sim_runs(1)
def test_lives_in_small(sim_seed: int) -> None:
    parted = lives.partition(sim_seed, 6, 3, 20.0)
    assert parted.called_dead
    assert parted.back_after < 120.0
    assert lives.name_case(sim_seed, 5, "new address, the same agent") < 5.0
    assert lives.two_bearers(sim_seed, 5) == (True, False)
    assert lives.answered(sim_seed, 6, 0.0, 0) == 1.0
    assert lives.flood(sim_seed, 5, 5.0, 100, seconds=2.0).delivered > 0.9
    assert lives.mass_join(sim_seed, 8, 1, 0.0).settled_after < 60.0


@pytest.mark.sim_runs(1)
def test_a_ring_that_is_exchanged_calls_nobody_dead_that_lives(sim_seed: int) -> None:
    found = churning.churn(sim_seed, 16, 0.5, minutes=1.0)
    assert found.left + found.crashed + found.joined > 0
    assert found.called_dead_alive == 0
    assert found.unsettled <= 120.0


def test_coordinates_fit_a_plane() -> None:
    early, late = places.fit(1, 20, "plane", (20, 200))
    assert late.median < early.median
    assert late.median < 0.05
    assert late.resets == 0
