"""kill -9 of real processes: what was acknowledged is there afterwards.

`make kill ROUNDS=20` runs more rounds than `make test` does.
"""

import time

from tests.raftstore.raft.cluster import until
from tests.raftstore.raft.processes import (
    Process,
    all_applied_what_was_acknowledged,
    find_leader,
    three_processes,
    write_until_acked,
)

LOAD = 400


async def load_leader(processes: list[Process], prefix: str) -> Process:
    """Give the leader a load, and return it in the middle of that."""
    leader = await find_leader(processes)
    before = len(leader.acked)
    for n in range(LOAD):
        leader.say(f"w {prefix}-{n}")
    await until(lambda: len(leader.acked) > before + 50)
    return leader


async def test_acknowledged_writes_survive_kill_9_of_the_leader(tmp_path):
    async with three_processes(tmp_path) as processes:
        for number in range(2):
            leader = await load_leader(processes, f"load-{number}")
            await leader.kill()
            killed_at = time.monotonic()
            await write_until_acked(processes, f"after-{number}")
            assert time.monotonic() - killed_at < 3.0
            await leader.start()
            await until(lambda leader=leader: leader.up)
        await all_applied_what_was_acknowledged(processes)


async def test_acknowledged_writes_survive_kill_9_of_everybody(tmp_path, kill_rounds):
    async with three_processes(tmp_path) as processes:
        for number in range(kill_rounds):
            await load_leader(processes, f"load-{number}")
            for process in processes:
                process.process.kill()
            for process in processes:
                await process.kill()
                await process.start()
            await until(lambda: all(process.up for process in processes))
            await write_until_acked(processes, f"end-{number}")
            await all_applied_what_was_acknowledged(processes)
