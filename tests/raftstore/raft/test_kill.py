"""kill -9 of real processes: what was acknowledged is there afterwards.

`make kill ROUNDS=20` runs more rounds than `make test` does.
"""

import hashlib
import time

import pytest

from tests.raftstore.raft.cluster import until
from tests.raftstore.raft.dying import INSTALLING, PHASES
from tests.raftstore.raft.processes import (
    Process,
    all_applied_what_was_acknowledged,
    find_leader,
    three_processes,
    write_until_acked,
)

LOAD = 3000


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


async def fill(processes: list[Process], first: int, count: int) -> None:
    leader = await find_leader(processes)
    names = [
        f"{n}-{hashlib.shake_128(b'%d' % n).hexdigest(200)}" for n in range(first, first + count)
    ]
    for name in names:
        leader.say(f"w {name}")
    await until(lambda: all(name in leader.acked for name in names))


async def take_snapshots(processes: list[Process], *, past: int) -> None:
    """Everybody who is up trims the log to more than that."""
    for process in processes:
        process.trimmed_to = 0
        process.say("t")
    await until(lambda: all(process.trimmed_to > past for process in processes), 60.0)


@pytest.mark.parametrize("killed", ["receiver", "sender"])
async def test_a_snapshot_is_installed_though_one_side_is_killed_in_the_middle(tmp_path, killed):
    async with three_processes(tmp_path, snapshots=True) as processes:
        leader = await find_leader(processes)
        receiver = next(process for process in processes if process is not leader)
        await receiver.kill()
        alive = [process for process in processes if process is not receiver]
        await fill(alive, 0, 250)
        await take_snapshots(alive, past=-1)
        await fill(alive, 250, 5)
        await take_snapshots(alive, past=200)  # the log before that is gone on both
        incoming = tmp_path / receiver.name / "snapshots" / "incoming.tmp"

        def under_way() -> bool:
            return incoming.exists() and incoming.stat().st_size > 0

        await receiver.start()
        await until(under_way)
        victim = receiver if killed == "receiver" else await find_leader(alive)
        await victim.kill()
        assert killed == "sender" or incoming.exists()
        await victim.start()
        await until(lambda: victim.up)
        await write_until_acked(processes, "end")

        def installed() -> bool:
            receiver.say("s")
            return receiver.installed == 1

        await until(installed)
        await all_applied_what_was_acknowledged(processes)
        assert not incoming.exists()


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


PATIENT_S = 60.0


async def some_writes(processes: list[Process], name: str, count: int) -> None:
    """Acknowledged by whoever leads then; a busy machine may change its leader at any time."""
    for number in range(count):
        await write_until_acked(processes, f"{name}-{number}")


@pytest.mark.long
@pytest.mark.timeout(300)  # on a busy machine twenty processes start in turn
@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_a_server_of_three_may_die_at_any_point_of_its_own_snapshot(tmp_path, role):
    async with three_processes(tmp_path, snapshots=True) as processes:
        for phase in PHASES:
            await some_writes(processes, f"before-{phase}", 15)
            await take_snapshots(processes, past=-1)  # from the second on there is one to discard
            await some_writes(processes, f"then-{phase}", 15)
            leader = await find_leader(processes)
            victim = leader
            if role == "follower":
                victim = next(process for process in processes if process is not leader)
            victim.say(f"x {phase}")
            for number in range(200):
                leader.say(f"w load-{phase}-{number}")
            victim.say("t")
            await victim.died()
            others = [process for process in processes if process is not victim]
            await write_until_acked(others, f"without-{phase}")
            await victim.start()
            await until(lambda victim=victim: victim.up, PATIENT_S)
            await write_until_acked(processes, f"with-{phase}")
            await all_applied_what_was_acknowledged(processes)


@pytest.mark.long
@pytest.mark.timeout(300)  # on a busy machine twenty processes start in turn
async def test_a_server_of_three_may_die_at_any_point_of_an_install(tmp_path):
    async with three_processes(tmp_path, snapshots=True) as processes:
        for phase in INSTALLING:
            leader = await find_leader(processes)
            receiver = next(process for process in processes if process is not leader)
            await receiver.kill()
            alive = [process for process in processes if process is not receiver]
            await some_writes(alive, f"before-{phase}", 15)
            await take_snapshots(alive, past=-1)
            at = max(process.trimmed_to for process in alive)
            await some_writes(alive, f"then-{phase}", 15)
            await take_snapshots(alive, past=at)  # what the receiver lacks is gone from the logs
            await receiver.start(die=phase)
            await receiver.died()
            await write_until_acked(alive, f"without-{phase}")
            await receiver.start()
            await until(lambda receiver=receiver: receiver.up, PATIENT_S)
            await write_until_acked(processes, f"with-{phase}")
            await all_applied_what_was_acknowledged(processes)
