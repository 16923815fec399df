"""What the operating system says of this process: what it may have open, and has; and which
release of the program it is."""

from __future__ import annotations

import asyncio
import os
import resource

from agent import VERSION
from agent.program import Program
from raftstore.records import Json


async def explain_process(program: Program) -> Json:
    """Counted in a thread: a server may have very many files open."""
    return {
        "Version": VERSION,
        "ProgramReplaced": await program.replaced(),
        **await asyncio.to_thread(_counted),
    }


def _counted() -> dict[str, Json]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "Pid": os.getpid(),
        "User": os.geteuid(),
        "FilesOpen": len(os.listdir("/proc/self/fd")),
        "FilesMax": soft,
        "FilesMaxHard": hard,
        "MemoryPeakBytes": usage.ru_maxrss * 1024,
        "CPUUser_s": usage.ru_utime,
        "CPUSystem_s": usage.ru_stime,
    }
