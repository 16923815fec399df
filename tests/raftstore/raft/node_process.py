"""One server as a process of its own, for tests that kill -9.

Arguments: data directory, node id, port, and id=port for every member; "snapshots" at the end makes
it a server that takes them, and sends them slowly; "die=PHASE" before that has it die there
(dying.py).

Speaks lines: "w <payload>" on stdin is proposed, "ok <payload> <index>" or "no <payload>" answers;
"s" asks for the state: "state <role> <applied count> <snapshots installed>"; "d" dumps the applied
payloads; "t" takes a snapshot: "taken <first index of the log>"; "x <phase>" has it die there.
"""

import asyncio
import sys
from pathlib import Path

from raftstore.errors import Refused, StoreError
from raftstore.raft import RaftConfig, RaftNode
from tests.raftstore.raft.cluster import open_door
from tests.raftstore.raft.dying import DyingFiles, DyingJournal
from tests.raftstore.raft.snapshots import ListMachine

SLOW = {
    "trailing_entries": 5,
    "trim_slice_entries": 7,
    "install_chunk_bytes": 4096,
    "install_bytes_per_s": 60_000,
}


async def main(data: str, node_id: str, port: str, *others: str) -> None:
    machine = ListMachine()
    journal = DyingJournal(Path(data), map_bytes=2**27)
    snapshots = others[-1] == "snapshots"
    node = RaftNode(
        RaftConfig(node_id=node_id, **(SLOW if snapshots else {})),
        journal=journal,
        apply=machine.apply,
        snapshots=(DyingFiles(Path(data) / "snapshots"), machine) if snapshots else None,
    )
    door = await open_door(node.accept, int(port))
    members = dict(other.split("=") for other in others if "=" in other)
    DyingFiles.fate.phase = members.pop("die", "")
    for other, other_port in members.items():
        node.set_address(other, "127.0.0.1", int(other_port))
    node.bootstrap({other: f"127.0.0.1:{p}" for other, p in members.items()})
    await node.start()

    async def write(payload: str) -> None:
        try:
            index, _ = await node.propose(payload.encode(), timeout_s=5.0)
            print(f"ok {payload} {index}", flush=True)
        except StoreError:
            print(f"no {payload}", flush=True)

    async def take() -> None:
        while True:
            try:
                await node.snapshot_now()
                break
            except Refused:  # two configurations may have followed each other just now
                await asyncio.sleep(0.05)
        print(f"taken {node.status().first_index}", flush=True)

    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    print("up", flush=True)
    tasks: set[asyncio.Task[None]] = set()
    while line := (await reader.readline()).decode().split():
        if line[0] in ("w", "t"):
            work = write(line[1]) if line[0] == "w" else take()
            task = asyncio.get_running_loop().create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        elif line[0] == "x":
            DyingFiles.fate.phase = line[1]
        elif line[0] == "s":
            status = node.status()
            words = status.role, len(machine.applied), status.snapshots_installed
            print("state", *words, flush=True)
        else:
            print("dump", *(payload.decode() for _, payload in machine.applied), flush=True)
    door.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
