"""lictor with one promise broken on purpose, to show that the fault tester sees the difference.

Started as ``python broken_lictor.py BREAKAGE agent -config-file FILE``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import lmdb

from agent.backend.rounds import ReadRounds
from agent.cli.main import main
from raftstore.raft.engine import RaftEngine


def reads_without_asking() -> None:
    """Default and consistent reads show what this server happens to have."""

    async def fresh(_rounds: ReadRounds) -> None:
        return None

    def join(_rounds: ReadRounds, done: Callable[[Exception | None], None]) -> None:
        asyncio.get_running_loop().call_soon(done, None)

    ReadRounds.fresh = fresh  # type: ignore[method-assign]
    ReadRounds.join = join  # type: ignore[method-assign]


def writes_without_syncing() -> None:
    """What is acknowledged is in the page cache at best."""
    real = lmdb.open

    def unsynced(*args: Any, **kwargs: Any) -> Any:
        return real(*args, **(kwargs | {"sync": False, "metasync": False}))

    lmdb.open = unsynced


def age_by_contact() -> None:
    """A stale answer is called as old as the last word of the leader."""
    RaftEngine.age_s = lambda engine, _wall: engine.last_contact_s() or 0.0  # type: ignore[method-assign]


def cuts_without_conflict() -> None:
    """A message that comes a second time cuts the log after what it repeats (hazard A1)."""

    def take_entries(engine: RaftEngine, _peer: Any, message: Any) -> bool:
        engine._journal.cut_from(message.prev_index + 1)
        for entry in message.entries:
            engine._journal.append(entry)
        return True

    RaftEngine._take_entries = take_entries  # type: ignore[method-assign]


BREAKAGES = {
    "reads-without-asking": reads_without_asking,
    "writes-without-syncing": writes_without_syncing,
    "age-by-contact": age_by_contact,
    "cuts-without-conflict": cuts_without_conflict,
}

if __name__ == "__main__":
    BREAKAGES[sys.argv.pop(1)]()
    sys.exit(main())
