"""Makes what is made at its first use, before somebody waits for it.

A codec is written out as source and compiled: 0.3 to 3 ms for a record, for a command with all that
is in it up to 7, and more on a busy machine. At import all of them would be a part of every start,
at the first request they hold the loop. So they are built one by one between other work, those of
the commands first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import Any

from raftstore import rows, wire
from raftstore.codec import LazyCodecs
from raftstore.state.history import weigher_of
from raftstore.thawed import copier_of


def steps() -> Generator[None, None, None]:
    """Build them; a step is one record."""
    seen: set[Any] = set()
    codecs: LazyCodecs[Any]
    for codecs in (wire.COMMANDS, wire.QUERIES, wire.ANSWERS, rows.CODECS):
        yield from codecs.build(seen)
    for kind in rows.TYPES.values():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            copier_of(kind)
            weigher_of(kind)
            yield
