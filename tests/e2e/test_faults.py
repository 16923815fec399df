"""A small matrix of faults on real clusters; the whole one is `make jepsen`."""

from pathlib import Path

import pytest

from jepsen_lite.checkers import Validity
from jepsen_lite.checkers.compose import worst
from jepsen_lite.report import as_text
from jepsen_lite.run import FORWARDING, CannotRunError, Options, run

pytestmark = [pytest.mark.e2e, pytest.mark.calm]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("workload", "nemeses", "network"),
    [
        ("modes", ("pause-leader", "isolate-leader"), ""),
        pytest.param("modes", ("isolate-leader", "loss"), FORWARDING, marks=pytest.mark.long),
        pytest.param("intention", ("kill-leader", "one-way"), "", marks=pytest.mark.long),
        pytest.param("append", ("kill-leader", "one-way"), "", marks=pytest.mark.long),
        pytest.param("counter", ("power-loss", "sync-hang"), "", marks=pytest.mark.long),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_clients_see_what_was_promised(
    tmp_path: Path, workload: str, nemeses: tuple[str, ...], network: str
) -> None:
    options = Options(
        workload=workload,
        nemesis=nemeses,
        seconds=8.0,
        pause_s=1.0,
        hold_s=2.0,
        network=network,
        folder=tmp_path,
    )
    try:
        result = run(options)
    except CannotRunError as error:
        pytest.skip(str(error))
    text = as_text(f"{workload} under {nemeses}", result.ops, result.verdicts)
    assert worst(result.verdicts) is Validity.VALID, text
