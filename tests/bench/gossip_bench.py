"""Gossip beside `serf`: five processes of each in the same minutes, LAN profile, on loopback.

Both rings are hurt at the same moment, so other work on the machine hurts both alike. What a member
knows it prints, and what counts is when the line arrives here. `python -m tests.bench.gossip_bench
NAME PORT [PEER]` is one member of ours, a process with nothing but `gossip` and uvloop;
`python -m tests.bench.gossip_bench trials 50` is the comparison with so many crashes, and beside
it a ring of ours that does not notice its own stalls (`stall_min_time = "0s"`): in four groups of
rings at a time, about two minutes, with the interval in which the medians differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import uvloop

from gossip import Gossip, GossipConfig, MemberEvent, UserEventArrived
from tests.gossip_lab import idle
from tests.ports import free_port

SERF = shutil.which("serf")
NAMES = tuple(f"m{number}" for number in range(5))
PHASE_S = 1.0  # of the probe round, before each kill
WAIT_S = 60.0
IDLE_S = 10.0
GROUPS = 4  # rings of each program that are hurt independently; a trial is mostly waiting
RESAMPLES = 4000
#: Last argument of a member that does not notice its own stalls.
NO_STALLS = "no-stalls"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Process:
    """One member in a process, and when it said what."""

    name: str
    port: int
    rpc: int
    process: asyncio.subprocess.Process
    lines: list[tuple[float, str]] = field(default_factory=list)
    reader: asyncio.Task[None] | None = None

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.lines.append((time.monotonic(), line.decode(errors="replace")))

    def said(self, needle: str, since: float) -> float | None:
        """When it first said so, after that moment."""
        return next((at for at, line in self.lines if at >= since and needle in line), None)

    def cpu_s(self) -> float:
        """Processor time used so far."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        if self.reader is not None:
            await self.reader


@dataclass
class Ring:
    """Five members of one program."""

    program: str
    alive: str
    failed: str
    event: str
    command: Callable[[str, int, int, str], list[str]]
    members: dict[str, Process] = field(default_factory=dict)

    async def start(self, name: str) -> None:
        old = self.members.get(name)
        port, rpc = (old.port, old.rpc) if old else (free_port(), free_port())
        peers = [m.port for m in self.members.values() if m.name != name]
        command = self.command(name, port, rpc, f"127.0.0.1:{peers[0]}" if peers else "")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        member = Process(name, port, rpc, process)
        member.reader = asyncio.get_running_loop().create_task(member.read())
        self.members[name] = member

    async def fire(self, name: str, event: str) -> None:
        """Have this member send a user event."""
        member = self.members[name]
        if self.program == "serf":
            assert SERF is not None
            rpc = f"-rpc-addr=127.0.0.1:{member.rpc}"
            process = await asyncio.create_subprocess_exec(
                SERF, "event", "-coalesce=false", rpc, event, stdout=asyncio.subprocess.DEVNULL
            )
            await process.wait()
        else:
            assert member.process.stdin is not None
            member.process.stdin.write(f"{event}\n".encode())

    async def all_said(self, needle: str, since: float, but: str = "") -> list[float]:
        """When each of them said so; waits until the last one has."""
        async with asyncio.timeout(WAIT_S):
            while True:
                times = [m.said(needle, since) for m in self.members.values() if m.name != but]
                if all(times):
                    return [at for at in times if at is not None]
                await asyncio.sleep(0.01)


def _serf(name: str, port: int, rpc: int, peer: str) -> list[str]:
    assert SERF is not None
    join = [f"-retry-join={peer}", "-retry-interval=1s"] if peer else []
    bind, rpc_address = f"-bind=127.0.0.1:{port}", f"-rpc-addr=127.0.0.1:{rpc}"
    return [SERF, "agent", f"-node={name}", bind, rpc_address, "-profile=lan", *join]


def _without_stalls(name: str, port: int, rpc: int, peer: str) -> list[str]:
    return [*_ours(name, port, rpc, peer), NO_STALLS]


def _ours(name: str, port: int, rpc: int, peer: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.bench.gossip_bench",
        name,
        str(port),
        *filter(None, [peer]),
    ]


async def member(name: str, port: int, peers: list[str]) -> None:
    """One member of ours; lines on standard input are names of events to send."""

    def changed(event: MemberEvent) -> None:
        print(f"{event.kind.value}: {event.member.name}", flush=True)

    def arrived(event: UserEventArrived) -> None:
        print(f"event: {event.name}", flush=True)

    changes = {"stall_min_s": 0.0} if NO_STALLS in peers else {}
    peers = [peer for peer in peers if peer != NO_STALLS]
    config = GossipConfig.lan(name, bind_address="127.0.0.1", bind_port=port, **changes)
    gossip = Gossip(config, on_member=changed, on_user_event=arrived)
    await gossip.start()
    while peers and not (await gossip.join(peers)).joined:
        await asyncio.sleep(0.1)
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        gossip.user_event(line, b"")
    await gossip.stop()


async def compare(trials: int, *, both: bool = False) -> dict[str, dict[str, list[float]]]:
    """Seconds from kill -9 and from an event, and processor time of idle members, by program."""
    groups = [_programs(both=both) for _ in range(GROUPS if both else 1)]
    rings = [ring for group in groups for ring in group]
    figures: dict[str, dict[str, list[float]]] = {ring.program: {} for ring in rings}
    try:
        for ring in rings:
            for name in NAMES:
                await ring.start(name)
        for ring in rings:
            for name in NAMES:
                await ring.all_said(f"{ring.alive}{name}", 0.0)
        await asyncio.gather(*(_idle(ring, figures[ring.program]) for ring in rings))
        each = -(-trials // len(groups))
        await asyncio.gather(
            *(
                _trials(group, each, random.Random(f"{trials}-{number}"), figures)
                for number, group in enumerate(groups)
            )
        )
    finally:
        for ring in rings:
            for one in ring.members.values():
                await one.kill()
    return figures


def _programs(*, both: bool) -> list[Ring]:
    """One ring of each program."""
    rings = [Ring("lictor", "join: ", "failed: ", "event: ", _ours)]
    if both:
        rings.append(Ring("no stalls", "join: ", "failed: ", "event: ", _without_stalls))
    if SERF is not None:
        rings.append(
            Ring("serf", "EventMemberJoin: ", "EventMemberFailed: ", "user-event: ", _serf)
        )
    return rings


async def _trials(
    group: list[Ring], count: int, rng: random.Random, into: dict[str, dict[str, list[float]]]
) -> None:
    """Events and crashes, in all rings of the group at the same moments."""
    for trial in range(count):
        await asyncio.gather(*(_event(ring, f"e{trial}-", into[ring.program]) for ring in group))
        await asyncio.sleep(rng.uniform(0, PHASE_S))
        victim = NAMES[1 + trial % (len(NAMES) - 1)]
        await asyncio.gather(*(_crash(ring, victim, into[ring.program]) for ring in group))


async def _crash(ring: Ring, victim: str, into: dict[str, list[float]]) -> None:
    began = time.monotonic()
    await ring.members[victim].kill()
    known = await ring.all_said(f"{ring.failed}{victim}", began, but=victim)
    into.setdefault("kill -9 to the first that shows failed", []).append(min(known) - began)
    into.setdefault("kill -9 to failed everywhere", []).append(max(known) - began)
    again = time.monotonic()
    await ring.start(victim)
    await ring.all_said(f"{ring.alive}{victim}", again)


async def _event(ring: Ring, event: str, into: dict[str, list[float]]) -> None:
    began = time.monotonic()
    await ring.fire(NAMES[0], event)
    known = await ring.all_said(f"{ring.event}{event}", began)
    into.setdefault("event from its sender to all", []).append(max(known) - min(known))


async def _idle(ring: Ring, into: dict[str, list[float]]) -> None:
    before = [one.cpu_s() for one in ring.members.values()]
    await asyncio.sleep(IDLE_S)
    used = [one.cpu_s() - was for one, was in zip(ring.members.values(), before, strict=True)]
    into["processor time of an idle member, ms/s"] = [1e3 * each / IDLE_S for each in used]


def bench(trials: int) -> None:
    """Print the table, and what one idle member of fifty takes."""
    figures = uvloop.run(compare(trials))
    print(f"\n| {'gossip, five members, seconds':40} | lictor median (worst) | serf median (worst)")
    print(f"|{'-' * 42}|-----------------------|--------------------")
    for name, ours in figures["lictor"].items():
        theirs = figures.get("serf", {}).get(name)
        shown = f"{median(theirs):7.3f} ({max(theirs):7.3f})" if theirs else "not installed"
        print(f"| {name:40} | {median(ours):7.3f} ({max(ours):7.3f})    | {shown}", flush=True)
    uvloop.run(idle.measure())


def many(trials: int) -> None:
    """Print median and worst of each ring."""
    figures = uvloop.run(compare(trials, both=True))
    print(f"\n{trials} trials, median (worst): {', '.join(figures)}")
    for name in figures["lictor"]:
        shown = [f"{median(f[name]):.3f} ({max(f[name]):.3f})" for f in figures.values()]
        print(f"| {name} | {' | '.join(shown)} |", flush=True)
        if "serf" in figures:
            low, high = interval(figures["lictor"][name], figures["serf"][name])
            print(f"|   lictor - serf, 95 % of {RESAMPLES}: {low:+.3f} to {high:+.3f} |")


def interval(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """In which range the difference of the medians lies (bootstrap, B. Efron 1979)."""
    dice = random.Random(1)
    differences = sorted(
        median(dice.choices(ours, k=len(ours))) - median(dice.choices(theirs, k=len(theirs)))
        for _ in range(RESAMPLES)
    )
    return differences[RESAMPLES // 40], differences[-RESAMPLES // 40 - 1]


if __name__ == "__main__" and sys.argv[1] == "trials":
    many(int(sys.argv[2]))
elif __name__ == "__main__":
    uvloop.run(member(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
