"""When a file of the audit log is put aside, how it is called then, and which ones go. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from agent.audit.config import SinkConfig


def is_due(config: SinkConfig, *, size: int, begun: float, now: float, more: int) -> bool:
    """Is the file to be put aside before ``more`` bytes are written? Times are Unix seconds.

    An empty file never is: nothing would be gained.
    """
    if not size:
        return False
    too_long = bool(config.rotate_bytes) and size + more > config.rotate_bytes
    too_old = bool(config.rotate_duration_s) and now - begun >= config.rotate_duration_s
    return too_long or too_old


def aside(path: str, now_ns: int) -> str:
    """The name of a file that is put aside: "audit.json" becomes "audit-<nanoseconds>.json"."""
    stem, extension = posixpath.splitext(path)
    return f"{stem}-{now_ns}{extension}"


def superfluous(config: SinkConfig, names: Iterable[str]) -> list[str]:
    """Of the names in the folder those put aside that are more than are kept, oldest first."""
    if not config.rotate_max_files:
        return []
    stem, extension = posixpath.splitext(posixpath.basename(config.path))
    form = re.compile(rf"{re.escape(stem)}-(\d{{1,30}}){re.escape(extension)}")
    found = sorted((int(match[1]), name) for name in names if (match := form.fullmatch(name)))
    return [name for _, name in found[: -config.rotate_max_files]]
