"""What a real Consul shows under faults, and lictor does not (docs/faults.md).

After a restart of all its servers a leader of Consul answers default reads before it has caught up,
and a leader that was frozen answers those that wait at its door before it learns that another one
leads: both show values older than ones that were acknowledged. Wants `consul` on the PATH.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jepsen_lite.checkers import Validity, Verdict, linearizable
from jepsen_lite.report import as_text
from jepsen_lite.run import Options, run
from jepsen_lite.targets import Consul, Lictor, Target

Fault = tuple[str, str, int, float, float]

pytestmark = [pytest.mark.interop, pytest.mark.long, pytest.mark.timeout(900)]

#: Workload, nemesis, clients, seconds, and how long a fault lasts: Consul takes five seconds to get
#: another leader, and until then nothing changes that a frozen one could have missed.
RESTARTED = ("modes", "kill-all", 16, 40.0, 4.0)
FROZEN = ("seldom", "pause-leader", 120, 80.0, 8.0)
#: Whether a read meets the moment is chance; each try has some ten faults.
TRIES = 3


def judged(target: Target, folder: Path, seed: int, fault: Fault) -> tuple[Verdict, str]:
    """The verdict about default and consistent reads under a fault."""
    workload, nemesis, clients, seconds, hold_s = fault
    options = Options(
        workload=workload,
        nemesis=(nemesis,),
        seed=seed,
        seconds=seconds,
        clients=clients,
        hold_s=hold_s,
        folder=folder,
        target=target,
    )
    result = run(options)
    (verdict,) = (each for each in result.verdicts if each.name == linearizable.NAME)
    return verdict, as_text(target.name, result.ops, result.verdicts)


@pytest.mark.skipif(shutil.which("consul") is None, reason="no consul on the PATH")
@pytest.mark.parametrize("fault", [RESTARTED, FROZEN], ids=["restarted", "frozen"])
def test_default_reads_of_consul_are_old(tmp_path: Path, fault: Fault) -> None:
    found: list[str] = []
    for seed in range(1, TRIES + 1):
        verdict, text = judged(Consul(), tmp_path / str(seed), seed, fault)
        if verdict.validity is Validity.INVALID:
            return
        found.append(text)
    raise AssertionError("\n".join(found))


@pytest.mark.parametrize("fault", [RESTARTED, FROZEN], ids=["restarted", "frozen"])
def test_ours_are_not(tmp_path: Path, fault: Fault) -> None:
    verdict, text = judged(Lictor(), tmp_path, 1, fault)
    assert verdict.validity is Validity.VALID, text
