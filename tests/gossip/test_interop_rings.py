"""Rings of three `serf` agents and three of our members: each side sees what the other does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import pathlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from gossip import GossipConfig, KeyOperation, MemberStatus, Question
from gossip.keyring import NONCE_BYTES
from gossip.wire import messages
from gossip.wire.messages import Suspect
from tests.gossip.rings import Watched, eventually, noted, quick
from tests.gossip.test_interop_serf import KEY, SERF, SerfAgent, options_of, serf_agent

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(SERF is None, reason="the serf program is not installed"),
    pytest.mark.asyncio(loop_scope="module"),
]
OURS, THEIRS = ("n0", "n1", "n2"), ("s0", "s1", "s2")


@dataclass
class Ring:
    """Six members on loopback, three of each program."""

    keys: tuple[bytes, ...]
    folder: pathlib.Path
    ours: list[Watched]
    theirs: list[SerfAgent]
    heard: list[tuple[str, bytes]]

    def config(self, name: str, **changes: object) -> GossipConfig:
        """Patient enough for a machine with other work; full exchanges heal what gossip misses."""
        settings: dict[str, object] = {
            "keys": self.keys,
            "probe_interval_s": 0.5,
            "probe_timeout_s": 0.3,
            "gossip_interval_s": 0.05,
            "push_pull_interval_s": 1.0,
            "suspicion_mult": 4,
            "retransmit_mult": 4,
            "tags": {"id": name},
        }
        return quick(name, **{**settings, **changes})

    @contextlib.asynccontextmanager
    async def our(self, name: str, **changes: object) -> AsyncIterator[Watched]:
        """One more member of ours, stopped without a word at the end."""

        async def uptime(query: str, payload: bytes) -> bytes | None:
            return f"up {name}".encode() if query == "uptime" else None

        config = self.config(name, **changes)
        member = Watched(config, on_user_event=noted(self.heard), on_query=uptime)
        await member.gossip.start()
        try:
            if self.ours:
                result = await member.gossip.join([self.ours[0].address])
                assert result.joined == 1, result.errors
            yield member
        finally:
            await member.gossip.stop()

    @contextlib.asynccontextmanager
    async def their(self, name: str) -> AsyncIterator[SerfAgent]:
        """One more serf agent, killed at the end."""
        options = [
            f"-node={name}",
            # The local profile sends two copies of news, asks one helper and waits 200 ms: on a
            # busy machine serf calls serf failed (docs/adr/0093-the-accused-is-told.md).
            "-profile=lan",
            f"-event-handler=user=(echo $SERF_USER_EVENT; cat) >> {self.folder / name}",
            f"-event-handler=query:uptime=echo up {name}",
            *options_of(self.keys),
        ]
        log = self.folder / f"{name}.log"
        async with serf_agent(self.ours[0].address, log, *options) as agent:
            yield agent

    async def all_see(self, wanted: dict[str, str]) -> None:
        """Every member of either program shows these statuses, in the end."""
        await eventually(
            lambda: all(
                (found := member.gossip.member(name)) is not None and found.status.name == status
                for member in self.ours
                for name, status in _ours(wanted).items()
            ),
            f"our members see {wanted}",
        )
        for agent in self.theirs:
            await agent.eventually(wanted)

    def nobody_was_called_failed(self, *names: str) -> None:
        """Our members never showed one of these as failed; says why when they did."""
        for member in self.ours:
            for name in names:
                if "failed" in member.kinds(name):
                    why = member.gossip.explain(name)
                    theirs = "\n".join(self.serf_about(name))
                    pytest.fail(
                        f"{name} was called failed: {why}\n{member.gossip.stats()}\n{theirs}"
                    )

    def serf_about(self, name: str) -> list[str]:
        """What the serf agents wrote of a member that they doubt."""
        return [
            f"{log.stem}: {line}"
            for log in sorted(self.folder.glob("*.log"))
            for line in log.read_text(errors="replace").splitlines()
            if f" {name} " in line and ("uspect" in line or "failed" in line)
        ]


def _ours(wanted: dict[str, str]) -> dict[str, str]:
    return {name: status.upper() for name, status in wanted.items()}


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[(), (KEY,)], ids=["plain", "encrypted"]
)
async def ring(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Ring]:
    made = Ring(request.param, tmp_path_factory.mktemp("ring"), [], [], [])
    async with contextlib.AsyncExitStack() as stack:
        for name in OURS:
            made.ours.append(await stack.enter_async_context(made.our(name)))
        for name in THEIRS:
            made.theirs.append(await stack.enter_async_context(made.their(name)))
        yield made


async def test_all_see_all(ring: Ring) -> None:
    await ring.all_see(dict.fromkeys((*OURS, *THEIRS), "alive"))
    for member in ring.ours:
        for name in THEIRS:
            assert dict(member.gossip.member(name).tags) == {"role": "web"}  # type: ignore[union-attr]
    shown = await ring.theirs[0].command("members")
    assert all(f"id={name}" in shown for name in OURS)


async def test_user_events_reach_everybody_from_either_side(ring: Ring) -> None:
    ring.heard.clear()
    ring.ours[1].gossip.user_event("ours", b"v1")
    assert "dispatched" in await ring.theirs[1].command("event", "-coalesce=false", "theirs", "v2")
    await eventually(
        lambda: sorted(ring.heard) == [("ours", b"v1")] * 3 + [("theirs", b"v2")] * 3,
        "our members hear both, once each",
    )
    files = [ring.folder / name for name in THEIRS]
    await eventually(
        lambda: all(file.exists() and file.read_bytes().count(b"ours\nv1") == 1 for file in files),
        "every serf agent hears ours once",
    )


async def test_queries_of_serf_are_acknowledged_and_answered_by_all(ring: Ring) -> None:
    asker = ring.theirs[2]
    # Gossip misses a member of a ring this small now and then, and queries are not repeated.
    answers = [f"'{name}': up {name}" for name in (*OURS, *THEIRS)]
    await _until_said(asker, "query", "-timeout=1s", "uptime", wanted=[*_acks(), *answers])


async def test_queries_of_ours_are_acknowledged_and_answered_by_all(ring: Ring) -> None:
    everybody = {*OURS, *THEIRS}
    acked: set[str] = set()
    answered: dict[str, bytes] = {}
    async with asyncio.timeout(20.0):
        while acked != everybody or set(answered) != everybody:
            stream = ring.ours[0].gossip.query(Question(name="uptime", ack=True, timeout_s=1.0))
            async for answer in stream:
                if answer.payload is None:
                    acked.add(answer.sender)
                else:
                    answered[answer.sender] = answer.payload.strip()
                if acked == everybody and set(answered) == everybody:
                    stream.close()
    assert answered == {name: f"up {name}".encode() for name in everybody}


def _acks() -> list[str]:
    return [f"Ack from '{name}'" for name in (*OURS, *THEIRS)]


async def _until_said(agent: SerfAgent, *command: str, wanted: list[str]) -> None:
    """Repeat a command of serf's until its output holds all of these."""
    out = ""
    try:
        async with asyncio.timeout(20.0):
            while not all(text in out for text in wanted):
                out = await agent.command(*command)
    except TimeoutError:
        raise AssertionError(f"serf says {out!r}, not {wanted}") from None


async def test_coordinates_are_exchanged(ring: Ring) -> None:
    await eventually(
        lambda: all(
            {*OURS, *THEIRS} - {member.gossip.local_member().name}
            <= set(member.gossip._core.coordinates.known)
            for member in ring.ours
        ),
        "each of ours measured all others",
    )
    for one, other in (("s0", "n1"), ("n0", "n2"), ("s1", "s2")):
        await _until_said(ring.theirs[0], "rtt", one, other, wanted=["Estimated"])


async def test_false_suspicions_of_ours_are_contradicted_by_serf_and_by_us(ring: Ring) -> None:
    """A member that sends but does not hear accuses everybody, as it must; nobody believes it."""
    watched = ring.ours[0].gossip._core.swim.table
    before = {name: watched.records[name].incarnation for name in (*OURS, *THEIRS)}

    def refuted(names: tuple[str, ...]) -> bool:
        return any(watched.records[name].incarnation > before[name] for name in names)

    # Without doubts about itself: else it accuses so slowly that three of six are all in 20 s.
    async with ring.our("deaf", tcp_pings=False, lha_probe=False) as deaf:
        core = deaf.gossip._core
        await eventually(
            lambda: all(deaf.status(n) is MemberStatus.ALIVE for n in before), "joined"
        )
        core.receive_packet = lambda *_: None  # type: ignore[method-assign]
        await eventually(lambda: refuted(OURS[1:]) and refuted(THEIRS), "both sides refute")
        del core.receive_packet
        await eventually(
            lambda: all(deaf.status(n) is MemberStatus.ALIVE for n in before), "it hears of it"
        )
        await deaf.gossip.leave()
    ring.nobody_was_called_failed(*before)
    await ring.all_see(dict.fromkeys(before, "alive"))


async def test_a_false_suspicion_in_the_name_of_serf_is_contradicted_by_us(ring: Ring) -> None:
    accused, liar = ring.ours[1], ring.ours[2].gossip
    before = accused.gossip.stats().refutations
    record = liar._core.swim.table.records["n1"]
    claim = messages.encode(Suspect(record.incarnation, "n1", "s0"))
    nonce = os.urandom(NONCE_BYTES)
    packet = liar._framing.encode_packet([claim], crc=False, nonce=nonce)
    target = liar.member("s1")
    assert target is not None
    assert liar._udp is not None
    liar._udp.sendto(packet, (target.address, target.port))
    await eventually(lambda: accused.gossip.stats().refutations > before, "refuted")
    await eventually(
        lambda: all(
            m.gossip._core.swim.table.records["n1"].incarnation > record.incarnation
            for m in ring.ours
        ),
        "the refutation is known",
    )
    ring.nobody_was_called_failed("n1")
    await ring.all_see({"n1": "alive"})


async def test_kill_9_is_seen_by_both_sides(ring: Ring) -> None:
    async with ring.their("s-killed") as theirs, ring.our("n-killed") as ours:
        await ring.all_see({"s-killed": "alive", "n-killed": "alive"})
        theirs.process.kill()
        await ours.gossip.stop()  # closes its sockets without a word
        await ring.all_see({"s-killed": "failed", "n-killed": "failed"})
    ring.nobody_was_called_failed(*OURS, *THEIRS)


async def test_a_leave_is_a_leave_on_both_sides(ring: Ring) -> None:
    async with ring.their("s-left") as theirs, ring.our("n-left") as ours:
        await ring.all_see({"s-left": "alive", "n-left": "alive"})
        await theirs.command("leave")
        await ours.gossip.leave()
        await ring.all_see({"s-left": "left", "n-left": "left"})


async def test_a_rotation_from_either_side_loses_nobody(ring: Ring) -> None:
    if not ring.keys:
        pytest.skip("this ring has no keys to change")
    second, third = bytes(range(50, 82)), bytes(range(100, 132))
    keys = ring.ours[1].gossip.ring_keys
    async with asyncio.timeout(40.0):
        for operation, key in (
            (KeyOperation.INSTALL, second),
            (KeyOperation.USE, second),
            (KeyOperation.REMOVE, KEY),
        ):
            while not (await keys.change(operation, key, relay_factor=1)).ok:
                pass  # a member that gossip missed; every step may be repeated
    for flag, key in (("install", third), ("use", third), ("remove", second)):
        text = base64.b64encode(key).decode()
        await _until_said(ring.theirs[1], "keys", f"-{flag}={text}", wanted=["Successfully"])
    ring.heard.clear()
    ring.ours[0].gossip.user_event("after", b"rotation")
    await eventually(lambda: ring.heard == [("after", b"rotation")] * 3, "heard under the new key")
    assert all(member.gossip._framing.keyring.keys == (third,) for member in ring.ours)
    await ring.all_see(dict.fromkeys((*OURS, *THEIRS), "alive"))
    ring.nobody_was_called_failed(*OURS, *THEIRS)


async def test_whatever_serf_sent_could_be_read(ring: Ring) -> None:
    for member in ring.ours:
        # What killed members left half said is no fault of the wire.
        assert set(member.gossip.stats().dropped) <= {"ping_for_another", "cut_off"}
