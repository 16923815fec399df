"""The os_service check: does systemd say that a unit is active (agent contract 1.1).

Only where systemd runs the host; elsewhere such a check is refused when it is registered. What is
on its way up or down is a warning, as a paused service of Windows is.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from agent.definitions import CheckDefinition
from agent.local.checks.probe import ProbeResult
from agent.local.programs import Programs
from raftstore.records import CRITICAL, PASSING, WARNING

#: Seconds; the contract sets none for this platform.
TIMEOUT_DEFAULT_S = 10.0
#: There as long as systemd is the host's first process (sd_booted(3)).
BOOTED = Path("/run/systemd/system")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,255}")
_STATUS = {
    "active": PASSING,
    "reloading": WARNING,
    "activating": WARNING,
    "deactivating": WARNING,
}


def systemd_runs() -> bool:
    """Whether units can be asked about here."""
    return BOOTED.is_dir()


async def probe_os_service(check: CheckDefinition, programs: Programs | None = None) -> ProbeResult:
    """Ask about the unit ``check.os_service``; without a suffix it is a service."""
    unit = check.os_service
    if _UNIT.fullmatch(unit) is None:
        return ProbeResult(CRITICAL, f'"{unit}" is no name of a unit')
    words = (
        "systemctl", "show", "--property=LoadState", "--property=ActiveState", "--", unit
    )  # fmt: skip
    try:
        async with (
            asyncio.timeout(check.timeout_s or TIMEOUT_DEFAULT_S),
            (programs or Programs()).run(*words) as process,
        ):
            said, _ = await process.communicate()
    except TimeoutError:
        return ProbeResult(CRITICAL, "systemctl did not answer in time", timed_out=True)
    except OSError as error:
        return ProbeResult(CRITICAL, f"systemctl cannot be run: {error.strerror or error}")
    return judge(unit, said.decode("utf-8", "replace"))


def judge(unit: str, said: str) -> ProbeResult:
    """What systemd's properties come to."""
    properties = dict(line.partition("=")[::2] for line in said.splitlines())
    state = properties.get("ActiveState", "")
    if properties.get("LoadState") == "not-found":
        return ProbeResult(CRITICAL, f'Service "{unit}" is not known to systemd')
    if not state:
        return ProbeResult(CRITICAL, f"systemctl: {said.strip()[:200]}")
    return ProbeResult(_STATUS.get(state, CRITICAL), f'Service "{unit}" is {state}')
