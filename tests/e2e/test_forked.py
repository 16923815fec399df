"""Agents that are forked end, and are told of, as started programs are."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e import forked
from tests.e2e.cluster import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.replay]  # no times count


def started(folder: Path, *words: str) -> tuple[forked.Forked, Path]:
    path = folder / "log"
    environ = {"PATH": os.environ["PATH"], "ONLY": "this"}
    with path.open("wb") as log:
        return forked.start(["lictor", *words], environ, log.fileno()), path


def test_what_ends_by_itself_tells_its_status_and_has_written_where_it_was_told(
    tmp_path: Path,
) -> None:
    well, log = started(tmp_path, "version")
    assert well.wait(60) == 0 and "Lictor v" in log.read_text()
    wrong, log = started(tmp_path, "agent", "-no-such-flag")
    assert wrong.wait(60) == 1 and "no-such-flag" in log.read_text()
    assert wrong.poll() == 1
    wrong.send_signal(9)  # to nobody


def test_it_is_a_process_and_a_session_of_its_own_that_can_be_killed(fresh: Cluster) -> None:
    agent = fresh.add("dev", "-dev").ready()
    process = agent.process
    assert isinstance(process, forked.Forked)
    assert process.pid == os.getsid(process.pid) != os.getsid(0)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    other = fresh.add("c1").ready()
    agent.kill()
    assert process.returncode == -9
    assert other.process is not None and other.process.poll() is None


def test_one_that_nobody_asks_for_any_more_ends_without_a_trace(tmp_path: Path) -> None:
    left, _ = started(tmp_path, "agent", "-dev", "-bind=127.0.0.1", "-no-such-flag")
    left._ended.close()
    after, _ = started(tmp_path, "version")
    assert after.wait(60) == 0
    assert started(tmp_path, "version")[0].wait(60) == 0
