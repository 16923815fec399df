"""How a sidecar's process takes memory from the C library and gives it back (mallopt(3))."""

from __future__ import annotations

import contextlib
import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
#: Free memory at the end of the heap that is kept.
KEPT_BYTES = 1024 * 1024
#: Pieces from this size on are mapped for themselves, and unmapped when they are free.
MAPPED_BYTES = 2 * 1024 * 1024


def settle() -> None:
    """Have threads take memory from one heap (agent/process.py), and give back what is free.

    Without the two thresholds they grow with the pieces that were freed, up to 64 MB: one long
    answer left 7 MB in a sidecar for ever. Where the C library is another, nothing happens.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    gc.collect()
    gc.freeze()
