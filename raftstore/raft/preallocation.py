"""How far a journal's file is filled with zeros ahead of what is written. Pure.

A synced write into blocks that exist costs the device's own time. One that makes the file longer
also commits the file system's journal, for which the syncs of others on it wait too. LMDB makes its
file longer page by page, with nearly every batch, until trimmed pages can be used again. So room is
made for some hundred batches at once, by zeros: what is only reserved (``fallocate``) is noted in
the file system's journal when it is written, like a longer file.
"""

from __future__ import annotations

STEP_BYTES = 1024 * 1024
"""Written in one go, between two batches."""
AHEAD_BYTES = 1024 * 1024
"""Less than this ahead of what is used, and the next step is due."""
LITTLE_BYTES = 256 * 1024
"""A journal of less than this is left alone: most agents that only try things out have such."""


def step_from(
    *, used: int, size: int, limit: int, free: int, reserve: int
) -> tuple[int, int] | None:
    """Where to write how many zeros, or None. All in bytes.

    ``used`` of the file's ``size`` hold something or did, it grows to ``limit`` at most. The file
    system has ``free``, of which nothing is taken while less than twice the ``reserve`` is left.
    """
    if used < LITTLE_BYTES or used + AHEAD_BYTES <= size or free < 2 * reserve + STEP_BYTES:
        return None
    begin = max(size, used)
    count = min(STEP_BYTES, limit - begin)
    return (begin, count) if count > 0 else None
