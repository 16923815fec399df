"""A small matrix of faults on real clusters; the whole one is `make jepsen`."""

from pathlib import Path

import pytest

from jepsen_lite.checkers import Validity
from jepsen_lite.checkers.compose import worst
from jepsen_lite.network import why_not
from jepsen_lite.report import as_text
from jepsen_lite.run import CannotRunError, Options, run

pytestmark = [pytest.mark.e2e, pytest.mark.alone]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("workload", "nemeses"),
    [
        ("modes", ("pause-leader", "isolate-leader")),
        pytest.param("append", ("kill-leader", "one-way"), marks=pytest.mark.long),
        pytest.param("counter", ("power-loss", "sync-hang"), marks=pytest.mark.long),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_clients_see_what_was_promised(
    tmp_path: Path, workload: str, nemeses: tuple[str, ...]
) -> None:
    options = Options(
        workload=workload,
        nemesis=nemeses,
        seconds=8.0,
        pause_s=1.0,
        hold_s=2.0,
        folder=tmp_path,
    )
    reason = why_not()
    if reason and any(name in nemeses for name in ("isolate-leader", "one-way")):
        pytest.skip(reason)
    try:
        result = run(options)
    except CannotRunError as error:
        pytest.skip(str(error))
    text = as_text(f"{workload} under {nemeses}", result.ops, result.verdicts)
    assert worst(result.verdicts) is Validity.VALID, text
