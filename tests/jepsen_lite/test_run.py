"""Whole runs against toy agents: honest ones pass, planted bugs are caught."""

import sys
from pathlib import Path

import pytest

from jepsen_lite.__main__ import main
from jepsen_lite.checkers import Validity
from jepsen_lite.checkers.compose import worst
from jepsen_lite.cluster import Cluster, ClusterError
from jepsen_lite.history import NEMESIS, read_history
from jepsen_lite.report import as_text
from jepsen_lite.run import CannotRunError, Options, run
from jepsen_lite.targets import Etcd, Lictor

TOY = (sys.executable, str(Path(__file__).with_name("toy_agent.py")))


def options(folder: Path, bug: str = "", **changes: object) -> Options:
    base = {
        "seconds": 2.0,
        "pause_s": 0.3,
        "hold_s": 0.3,
        "clients": 4,
        "folder": folder,
        "target": Lictor(program=(*TOY, bug) if bug else TOY),
    }
    return Options(**(base | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("workload", "nemesis"),
    [("register", "kill"), ("seldom", "pause"), ("cas", "kill-all"), ("counter", "starve")],
)
def test_an_honest_store_is_found_valid(tmp_path: Path, workload: str, nemesis: str) -> None:
    result = run(options(tmp_path, workload=workload, nemesis=(nemesis,)))
    text = as_text("run", result.ops, result.verdicts)
    assert worst(result.verdicts) is Validity.VALID, text
    assert any(op.process == NEMESIS and op.f == "inject" for op in result.ops)
    assert read_history(tmp_path / "history.jsonl") == list(result.ops)
    assert main(["check", str(tmp_path / "history.jsonl"), "--workload", workload]) == 0


def test_acknowledged_writes_that_vanish_are_caught(tmp_path: Path) -> None:
    result = run(options(tmp_path, "lose", nemesis=("kill-all",)))
    assert worst(result.verdicts) is Validity.INVALID
    assert main(["check", str(tmp_path / "history.jsonl")]) == 1


def test_compare_and_set_that_does_not_compare_is_caught(tmp_path: Path) -> None:
    result = run(options(tmp_path, "cas", workload="cas", nemesis=("none",)))
    assert worst(result.verdicts) is Validity.INVALID


def test_a_cluster_that_does_not_come_up_says_where_its_logs_are(tmp_path: Path) -> None:
    program = (sys.executable, "-c", "raise SystemExit('no')")
    cluster = Cluster(tmp_path, 1, Lictor(program=program))
    with pytest.raises(ClusterError, match=str(tmp_path)):
        cluster.start(wait_s=10)
    cluster.stop()
    assert "no" in (tmp_path / "n1" / "agent.log").read_text()


def test_what_a_target_does_not_offer_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match="etcd does not offer sessions"):
        run(options(tmp_path, workload="lock", nemesis=("none",), target=Etcd()))
    assert not list(tmp_path.iterdir())
