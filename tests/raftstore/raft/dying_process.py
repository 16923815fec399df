"""A single server that takes snapshots and dies by its own kill -9 at a named point.

Arguments: data directory, phase. With a phase that is never reached ("none") it checks what it
finds: the applied payloads must be 0, 1, 2, ...; prints "found <count>".
"""

import asyncio
import sys
from pathlib import Path

from tests.raftstore.raft.cluster import until
from tests.raftstore.raft.dying import DyingFiles
from tests.raftstore.raft.snapshots import SnapServer

PHASE = sys.argv[2]
ROUND, BATCH = 60, 6


async def main() -> None:
    server = SnapServer("a", Path(sys.argv[1]))
    server.files_class = DyingFiles
    node = await server.start(trim_slice_entries=7)
    node.bootstrap({"a": "127.0.0.1:1"})
    await until(lambda: node.status().role == "leader")
    discard = server.journal.discard_trimmed

    def discard_trimmed(count: int) -> bool:
        more = discard(count)
        if more:
            DyingFiles.fate.reached("trimmed")
        return more

    server.journal.discard_trimmed = discard_trimmed
    await node.read_index(timeout_s=5.0)
    assert server.payloads == [b"%d" % n for n in range(len(server.payloads))]
    print("found", len(server.payloads), flush=True)
    if PHASE != "none":
        for number in range(3):
            DyingFiles.fate.phase = PHASE if number == 2 else ""
            first = len(server.payloads)
            for start in range(first, first + ROUND, BATCH):  # a row of the journal for each
                await asyncio.gather(
                    *(node.propose(b"%d" % n, timeout_s=5.0) for n in range(start, start + BATCH))
                )
            print(first + ROUND, flush=True)
            await node.snapshot_now()
        await asyncio.sleep(5)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
