"""What the operating system says of this process: what it may have open, and has."""

from __future__ import annotations

import asyncio
import os
import resource

from raftstore.records import Json


async def explain_process() -> Json:
    """Counted in a thread: a server may have very many files open."""
    return await asyncio.to_thread(_counted)


def _counted() -> Json:
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
