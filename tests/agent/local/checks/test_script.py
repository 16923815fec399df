"""The script check with real processes."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from agent.definitions import CheckDefinition
from agent.local.checks.script import probe_script
from tests.agent.local.parts import until


def script(text: str, timeout_s: float = 20.0) -> CheckDefinition:
    return CheckDefinition(args=("/bin/sh", "-c", text), timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("code", "status"), [(0, "passing"), (1, "warning"), (2, "critical"), (99, "critical")]
)
async def test_the_exit_status_decides(code, status) -> None:
    result = await probe_script(script(f"echo out; echo err >&2; exit {code}"), 4096)
    assert (result.status, result.output) == (status, "out\nerr\n")


async def test_a_program_that_cannot_start_is_critical() -> None:
    result = await probe_script(CheckDefinition(args=("/no/such/program",)), 10)
    assert result.status == "critical" and "No such file" in result.output


async def test_the_end_of_a_long_output_is_kept() -> None:
    result = await probe_script(script("printf 'abcdefghij'"), 4)
    assert result.output == "Captured 4 of 10 bytes\n...\nghij"


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_at_the_timeout_the_whole_group_is_killed(tmp_path) -> None:
    note = tmp_path / "pid"
    text = f"echo begun; sleep 600 & echo $! > {note}.new; mv {note}.new {note}; wait"
    result = await probe_script(script(text, 1.0), 4096)
    assert (result.status, result.timed_out) == ("critical", True)
    assert result.output == "Timed out (1s) running check\n\nbegun\n"
    assert not alive(int(note.read_text()))


async def test_a_cancelled_check_leaves_no_process(tmp_path) -> None:
    note = tmp_path / "pid"
    code = (
        "import os, pathlib, time\n"
        f"pathlib.Path({str(note)!r} + '.new').write_text(str(os.getpid()))\n"
        f"os.rename({str(note)!r} + '.new', {str(note)!r})\n"
        "time.sleep(600)"
    )
    check = CheckDefinition(args=(sys.executable, "-c", code))
    task = asyncio.get_running_loop().create_task(probe_script(check, 10))
    await until(note.exists)
    pid = int(note.read_text())
    assert os.getpgid(pid) == pid  # a group of its own
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not alive(pid)
