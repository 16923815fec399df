"""The fault tester finds what is broken: lictor with a promise taken away is caught."""

import sys
from pathlib import Path

import pytest

from jepsen_lite.checkers import Validity
from jepsen_lite.checkers.compose import worst
from jepsen_lite.cluster import ClusterError
from jepsen_lite.report import as_text
from jepsen_lite.run import CannotRunError, Options, run
from jepsen_lite.targets import Lictor

pytestmark = [pytest.mark.e2e, pytest.mark.long]
BROKEN = Path(__file__).with_name("broken_lictor.py")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("breakage", "workload", "nemesis", "checker"),
    [
        ("reads-without-asking", "modes", "isolate-leader", "linearizable"),
        ("reads-without-asking", "seldom", "pause-leader", "linearizable"),
        ("writes-without-syncing", "set", "power-loss", "complete-set"),
        ("cuts-without-conflict", "set", "flap,kill-leader", "complete-set"),
        ("age-by-contact", "modes", "sync-lag", "staleness"),
    ],
)
def test_a_promise_taken_away_is_noticed(
    tmp_path: Path, breakage: str, workload: str, nemesis: str, checker: str
) -> None:
    options = Options(
        workload=workload,
        nemesis=tuple(nemesis.split(",")),
        clients=30 if workload == "seldom" else 6,
        seconds=20.0,
        pause_s=1.5,
        hold_s=6.0 if workload == "seldom" else 2.5,
        folder=tmp_path,
        target=Lictor(program=(sys.executable, str(BROKEN), breakage)),
    )
    try:
        result = run(options)
    except CannotRunError as error:
        pytest.skip(str(error))
    except ClusterError:
        assert breakage == "writes-without-syncing"  # a journal with holes is refused: seen as well
        return
    text = as_text(breakage, result.ops, result.verdicts)
    assert worst(result.verdicts) is Validity.INVALID, text
    caught = {verdict.name for verdict in result.verdicts if verdict.problems}
    assert checker in caught, text
