"""What a real Consul shows under faults, and lictor does not (docs/faults.md).

After a restart of all its servers a leader of Consul answers default reads before it has caught up,
so they show values older than ones that were acknowledged. Wants `consul` on the PATH.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jepsen_lite.checkers import Validity, Verdict, linearizable
from jepsen_lite.report import as_text
from jepsen_lite.run import Options, run
from jepsen_lite.targets import Consul, Lictor, Target

pytestmark = [pytest.mark.interop, pytest.mark.long, pytest.mark.timeout(900)]

#: Whether a read meets the moment is chance; each try has some ten restarts.
TRIES = 3


def restarted(target: Target, folder: Path, seed: int) -> tuple[Verdict, str]:
    """The verdict about default and consistent reads when all servers are killed and restarted."""
    options = Options(
        workload="modes",
        nemesis=("kill-all",),
        seed=seed,
        seconds=40.0,
        clients=16,
        folder=folder,
        target=target,
    )
    result = run(options)
    (verdict,) = (each for each in result.verdicts if each.name == linearizable.NAME)
    return verdict, as_text(target.name, result.ops, result.verdicts)


@pytest.mark.skipif(shutil.which("consul") is None, reason="no consul on the PATH")
def test_consuls_default_reads_are_old_after_a_restart(tmp_path: Path) -> None:
    found = [restarted(Consul(), tmp_path / str(seed), seed) for seed in range(1, TRIES + 1)]
    assert any(verdict.validity is Validity.INVALID for verdict, _ in found), found


def test_our_default_reads_are_not(tmp_path: Path) -> None:
    verdict, text = restarted(Lictor(), tmp_path, 1)
    assert verdict.validity is Validity.VALID, text
