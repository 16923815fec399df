"""`raft recover`: what is refused before anything is touched, and what people read."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.main import run
from agent.cli.raft import plan_text
from agent.local.identity import claim_data_dir
from raftstore.raft.members import VOTER, Config, Member
from raftstore.recovery import Survivor, plan

CONFIG = Config("c1", {n: Member(VOTER, f"{n}:8300") for n in ("a", "b", "c")})


def survivor(name: str, last: int) -> Survivor:
    return Survivor(
        path=f"/{name}",
        node_id=name,
        term=2,
        vote="a",
        first_index=0,
        last_index=last,
        last_term=2,
        commit_index=3,
        config_index=1,
        config=CONFIG,
        runs=((0, 0), (1, 2)),
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "Say either -plan or -apply"),
        (["-plan", "-apply"], "Say either -plan or -apply"),
        (["-plan"], "At least one -data-dir is needed"),
        (["-plan", "-data-dir=/no/such/place"], "/no/such/place is no directory"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("lictor", ["raft", "recover", *words]) == 1
    assert reason in capsys.readouterr().err


def test_a_directory_without_raft_data_is_refused_and_stays_empty_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("lictor", ["raft", "recover", "-plan", f"-data-dir={tmp_path}"]) == 1
    assert "there is no Raft data in it" in capsys.readouterr().err
    assert not (tmp_path / "raft").exists()


def test_a_running_server_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claim_data_dir(str(tmp_path))
    assert run("lictor", ["raft", "recover", "-plan", f"-data-dir={tmp_path}"]) == 1
    assert "is in use by another agent" in capsys.readouterr().err


def test_the_plan_says_who_goes_on_and_what_that_costs() -> None:
    text = plan_text(plan([survivor("a", 5)]))
    assert "Seed: a (the best log)" in text
    assert "Missing: b\nMissing: c" in text
    assert "Writes that were acknowledged and reached none of these servers are lost" in text
    both = plan_text(plan([survivor("a", 5), survivor("b", 7)]))
    assert "There is a quorum: start these servers." in both
    assert "Seed: b (the best log)" in both
