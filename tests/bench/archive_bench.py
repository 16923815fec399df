"""How long saving and restoring a large state takes, and how long the loop is held meanwhile.

``python -m tests.bench.archive_bench [keys]``: one server with its journal on disk.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from typing import IO

from agent.backend import SignedLeaf
from agent.backend.archives import ArchiveConfig, LocalArchives
from agent.backend.local import LocalBackend
from agent.backend.rpc.client import RpcLimits, RpcPool
from agent.loop.collector import Collector
from agent.loop.timed import TimedLoop
from raftstore.config import StoreConfig
from raftstore.records import Actor
from raftstore.store import Store
from tests.bench.snapshot_bench import fill, held_ms, watched

GIB = 1024**3
PIECE_BYTES = 256 * 1024


async def pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """A file bit by bit."""
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        yield piece


async def nobody_signs(csr_pem: str) -> SignedLeaf:
    """No certificates are asked for here."""
    raise NotImplementedError


async def measure(keys: int) -> None:
    """Print the lines of the table."""
    collector = Collector()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(StoreConfig(node_id="a", data_dir=folder))
        await store.start()
        store.bootstrap({"a": "127.0.0.1:1"})
        fill(store, keys)
        store.state.indexes.load("kv-tree", 1)
        collector.start(asyncio.get_running_loop().call_soon_threadsafe)
        while not store.is_leader:
            await asyncio.sleep(0.01)
        pool = RpcPool(datacenter="dc1", node="a", limits=RpcLimits())
        backend = LocalBackend(
            store, pool, sender="a", hold_s=7.0, signer=nobody_signs, rng=random.Random(1)
        )
        config = ArchiveConfig(
            folder=folder,
            bytes_max=GIB,
            unpacked_bytes_max=16 * GIB,
            timeout_s=600.0,
            at_once_max=1,
        )
        archives = LocalArchives(backend, store, config)
        begun_at = time.perf_counter()
        async with watched(collector) as holds:
            saved = await archives.save(stale=False)
        took = time.perf_counter() - begun_at
        size, held = saved.size / 1e6, held_ms(holds)
        print(f"| save, {keys} keys | {took:.1f} s | own hold {held:.1f} ms | {size:.1f} MB |")
        begun_at = time.perf_counter()
        async with watched(collector) as holds:
            with saved.file as file:
                await archives.restore(pieces(file), Actor(node="a"))
        took = time.perf_counter() - begun_at
        assert len(store.state.kv) == keys
        parts = archives.stats.restored_parts
        held = held_ms(holds)
        print(f"| restore | {took:.1f} s | own hold {held:.1f} ms | {parts} parts |", flush=True)
        collector.stop()
        await archives.close()
        await backend.close()
        await store.stop()
        await pool.close()


def main(keys: int = 100_000) -> None:
    """Run it on a loop that times its callbacks."""
    with asyncio.Runner(loop_factory=TimedLoop) as runner:
        runner.run(measure(keys))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
