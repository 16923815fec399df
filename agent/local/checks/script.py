"""The script check: a program's exit status is the check's status (agent contract 1.1).

The program runs in a process group of its own, and the whole group is killed when the time is up
or the check is removed: a script's children must not outlive it and pile up.
"""

from __future__ import annotations

import asyncio

from agent.definitions import CheckDefinition
from agent.durations import format_s
from agent.local.checks.output import Tail
from agent.local.checks.probe import ProbeResult
from agent.local.programs import Programs
from raftstore.records import CRITICAL, PASSING, WARNING

#: Agent contract 1.1, seconds.
TIMEOUT_DEFAULT_S = 30.0
_READ_BYTES = 64 * 1024


async def probe_script(
    check: CheckDefinition, output_max: int, programs: Programs | None = None
) -> ProbeResult:
    """Run ``check.args``; ``output_max`` bytes of its output are kept."""
    timeout_s = check.timeout_s or TIMEOUT_DEFAULT_S
    output = Tail(output_max)
    try:
        async with (
            asyncio.timeout(timeout_s),
            (programs or Programs()).run(*check.args) as process,
        ):
            code = await _follow(process, output)
    except TimeoutError:
        text = f"Timed out ({format_s(timeout_s)}) running check"
        if output.total:
            text += f"\n\n{output.noted()}"
        return ProbeResult(CRITICAL, text, timed_out=True)
    except (OSError, ValueError) as error:
        return ProbeResult(CRITICAL, str(error))
    status = {0: PASSING, 1: WARNING}.get(code, CRITICAL)
    return ProbeResult(status, output.noted())


async def _follow(process: asyncio.subprocess.Process, output: Tail) -> int:
    assert process.stdout is not None
    while chunk := await process.stdout.read(_READ_BYTES):
        output.write(chunk)
    return await process.wait()
