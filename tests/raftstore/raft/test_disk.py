"""The thread of the disk: the loop's thread lets it come to its sync, and waits no longer."""

from __future__ import annotations

import asyncio
import threading
import time

from raftstore.raft.config import RaftConfig
from raftstore.raft.disk import DiskThread
from raftstore.raft.log import MemJournal
from raftstore.raft.replica import Work


class Journal(MemJournal):
    """Comes to its sync when ``ready`` is set, and ends it when ``done`` is."""

    def __init__(self) -> None:
        super().__init__()
        self.ready, self.done = threading.Event(), threading.Event()
        self.begun = threading.Event()

    def persist(self, batch) -> None:
        self.begun.set()
        assert self.ready.wait(30)
        self.on_sync()
        assert self.done.wait(30)


async def write(journal: Journal, sync_begin_s: float) -> tuple[DiskThread, asyncio.Future]:
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    config = RaftConfig(node_id="a", sync_begin_s=sync_begin_s)
    disk = DiskThread(journal, config=config, done=lambda work, error: ended.set_result(error))
    journal.set_term(1, None)
    disk.persist(Work([], journal.take(), []), journal.take())
    return disk, ended


async def test_it_is_waited_for_until_it_syncs_and_no_longer():
    journal = Journal()
    disk, ended = await write(journal, 30.0)
    journal.ready.set()
    disk.let_sync_begin()  # although the sync has not ended
    disk.let_sync_begin()
    assert not ended.done()
    journal.done.set()
    assert await ended is None
    disk.let_sync_begin()  # nothing is being written
    await disk.close()


async def test_one_that_does_not_come_to_its_sync_is_not_waited_for_long():
    journal = Journal()
    disk, ended = await write(journal, 0.01)
    assert journal.begun.wait(30)
    began = time.monotonic()
    disk.let_sync_begin()
    assert 0.005 < time.monotonic() - began < 20
    journal.ready.set()
    journal.done.set()
    assert await ended is None
    await disk.close()


async def test_a_write_that_fails_before_its_sync_is_not_waited_for():
    journal = Journal()

    def broken(batch) -> None:
        assert journal.ready.wait(30)
        raise OSError("broken")

    journal.persist = broken
    disk, ended = await write(journal, 30.0)
    journal.ready.set()
    disk.let_sync_begin()
    assert isinstance(await ended, OSError)
    await disk.close()


async def test_room_is_made_after_a_write_is_told_and_before_the_end():
    told: list[str] = []

    class Preallocating(MemJournal):
        def persist(self, batch) -> None:
            told.append("written")

        def preallocate(self) -> None:
            assert told[-1] == "written"
            told.append("room made")

    ended = asyncio.get_running_loop().create_future()
    journal = Preallocating()
    disk = DiskThread(
        journal, config=RaftConfig(node_id="a"), done=lambda work, error: ended.set_result(error)
    )
    journal.set_term(1, None)
    disk.persist(Work([], journal.take(), []), journal.take())
    assert await ended is None
    assert await disk.run(lambda: told[-1]) == "room made"
    await disk.close()  # the journal may be closed after this: nothing more is asked of it
    assert told == ["written", "room made"]
