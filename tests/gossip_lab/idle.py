"""Processor time of one real member, sockets included, in a quiet ring on loopback.

`python -m tests.gossip_lab.idle` starts the others in a second process and measures its own.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import uvloop

from gossip import Gossip, GossipConfig

MEMBERS = 50
SETTLE_S = 5.0
MEASURE_S = 20.0


def member(name: str) -> Gossip:
    config = GossipConfig.lan(name, bind_address="127.0.0.1", bind_port=0)
    return Gossip(config, on_member=lambda event: None)


async def others(first: str) -> None:
    """Join them all, say so, and stay until standard input ends."""
    for index in range(MEMBERS - 1):
        one = member(f"other{index}")
        await one.start()
        await one.join([first])
    print("up", flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def measure() -> None:
    one = member("measured")
    await one.start()
    address = f"127.0.0.1:{one.local_member().port}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.gossip_lab.idle", address),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(SETTLE_S)
    packets, cpu_s, began = one.stats().packets_sent, time.process_time(), time.monotonic()
    await asyncio.sleep(MEASURE_S)
    took_s = time.monotonic() - began
    share = (time.process_time() - cpu_s) / took_s
    rate = (one.stats().packets_sent - packets) / took_s
    alive = one.stats().members_alive
    print(f"members {alive}, {share:.2%} of a core, {rate:.1f} packets sent a second")
    process.stdin.close()
    await process.wait()
    await one.stop()


if __name__ == "__main__":
    uvloop.run(others(sys.argv[1]) if len(sys.argv) > 1 else measure())
