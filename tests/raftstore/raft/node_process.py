"""One server as a process of its own, for tests that kill -9.

Arguments: data directory, node id, port, and id=port for every member.

Speaks lines: "w <payload>" on stdin is proposed, "ok <payload> <index>" or "no <payload>" answers;
"s" asks for the state: "state <role> <applied count>"; "d" dumps the applied payloads.
"""

import asyncio
import sys
from pathlib import Path

from raftstore.errors import StoreError
from raftstore.raft import LmdbJournal, RaftConfig, RaftNode
from tests.raftstore.raft.cluster import open_door


async def main(data: str, node_id: str, port: str, *others: str) -> None:
    applied: list[str] = []
    journal = LmdbJournal(Path(data), map_bytes=2**27)
    node = RaftNode(
        RaftConfig(node_id=node_id),
        journal=journal,
        apply=lambda index, stamp, payload: applied.append(payload.decode()),
    )
    door = await open_door(node.accept, int(port))
    members = dict(other.split("=") for other in others)
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

    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    print("up", flush=True)
    tasks: set[asyncio.Task[None]] = set()
    while line := (await reader.readline()).decode().split():
        if line[0] == "w":
            task = asyncio.get_running_loop().create_task(write(line[1]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        elif line[0] == "s":
            print(f"state {node.status().role} {len(applied)}", flush=True)
        else:
            print("dump " + " ".join(applied), flush=True)
    door.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
