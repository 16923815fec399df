"""Against the real `serf` agent: it joins our ring, and both sides see joins, leaves, failures."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import pathlib
import shutil
from collections.abc import AsyncIterator

import pytest

from gossip import KeyOperation, MemberStatus, Question
from tests.gossip.rings import Watched, eventually, noted, quick, ring
from tests.ports import free_port

SERF = shutil.which("serf")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(SERF is None, reason="the serf program is not installed"),
]
KEY = bytes(range(32))


class SerfAgent:
    """A running `serf agent` and its command line."""

    def __init__(self, process: asyncio.subprocess.Process, rpc: str) -> None:
        self.process = process
        self._rpc = rpc

    async def command(self, *arguments: str) -> str:
        assert SERF is not None
        process = await asyncio.create_subprocess_exec(
            SERF,
            arguments[0],
            f"-rpc-addr={self._rpc}",
            *arguments[1:],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return out.decode()

    async def statuses(self) -> dict[str, str]:
        lines = (await self.command("members")).splitlines()
        return {line.split()[0]: line.split()[2] for line in lines if len(line.split()) >= 3}

    async def eventually(self, wanted: dict[str, str]) -> None:
        statuses: dict[str, str] = {}
        try:
            async with asyncio.timeout(20.0):
                while True:
                    statuses = await self.statuses()
                    if wanted.items() <= statuses.items():
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"serf sees {statuses}, not {wanted}") from None


@contextlib.asynccontextmanager
async def serf_agent(join: str, log: pathlib.Path, *options: str) -> AsyncIterator[SerfAgent]:
    assert SERF is not None
    rpc = f"127.0.0.1:{free_port()}"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            SERF,
            "agent",
            "-node=real",
            f"-bind=127.0.0.1:{free_port()}",
            f"-rpc-addr={rpc}",
            "-profile=local",
            "-tag=role=web",
            f"-retry-join={join}",
            *options,
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield SerfAgent(process, rpc)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def options_of(keys: tuple[bytes, ...]) -> list[str]:
    return [f"-encrypt={base64.b64encode(keys[0]).decode()}"] if keys else []


@pytest.mark.parametrize("keys", [(), (KEY,)], ids=["plain", "encrypted"])
async def test_serf_joins_our_ring_and_both_agree(
    keys: tuple[bytes, ...], tmp_path: pathlib.Path
) -> None:
    seen: list[tuple[str, bytes]] = []
    listener = Watched(quick("n1", keys=keys), on_user_event=noted(seen))
    async with ring(quick("n0", keys=keys, tags={"id": "0"}), join=False) as (first,):
        await listener.gossip.start()
        await listener.gossip.join([first.address])
        log = tmp_path / "serf.log"
        async with serf_agent(first.address, log, *options_of(keys)) as real:
            both = (first, listener)
            await eventually(
                lambda: all(m.status("real") is MemberStatus.ALIVE for m in both), "joined"
            )
            assert dict(first.gossip.member("real").tags) == {"role": "web"}  # type: ignore[union-attr]
            await real.eventually({"n0": "alive", "n1": "alive", "real": "alive"})
            assert "id=0" in await real.command("members")

            assert "dispatched" in await real.command("event", "deploy", "v1")
            await eventually(lambda: seen == [("deploy", b"v1")], "the user event")
            assert "Successfully contacted all live nodes" in await real.command("reachability")

            await listener.gossip.set_tags({"new": "tag"})
            await listener.gossip.leave()
            await real.eventually({"n1": "left", "n0": "alive"})
            assert "new=tag" in await real.command("members")

            await real.command("leave")
            await eventually(lambda: first.status("real") is MemberStatus.LEFT, "left")
            assert first.gossip.stats().dropped == {}


@pytest.mark.timeout(150)
async def test_serf_and_we_call_each_other_failed(tmp_path: pathlib.Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        members = await stack.enter_async_context(ring(quick("n0"), quick("n1"), quick("n2")))
        agent = serf_agent(members[0].address, tmp_path / "serf.log")
        real = await stack.enter_async_context(agent)
        await real.eventually({"n0": "alive", "n1": "alive", "n2": "alive"})
        await members[2].gossip.stop()
        await real.eventually({"n2": "failed", "n0": "alive", "n1": "alive"})
        real.process.kill()
        await eventually(
            lambda: all(m.status("real") is MemberStatus.FAILED for m in members[:2]),
            "the killed serf agent is failed",
            wait_s=60.0,  # by the rules: of four that are known only one is there to confirm it
        )


async def test_keys_are_rotated_by_serf_without_losing_anybody(tmp_path: pathlib.Path) -> None:
    new = base64.b64encode(bytes(range(100, 132))).decode()
    old = base64.b64encode(KEY).decode()
    async with contextlib.AsyncExitStack() as stack:
        both = ring(quick("n0", keys=(KEY,)), quick("n1", keys=(KEY,)))
        members = await stack.enter_async_context(both)
        agent = serf_agent(members[0].address, tmp_path / "serf.log", f"-encrypt={old}")
        real = await stack.enter_async_context(agent)
        await real.eventually({"n0": "alive", "n1": "alive"})
        for step in (f"-install={new}", f"-use={new}", f"-remove={old}"):
            out = await real.command("keys", step)
            assert "Failed" not in out and "failed" not in out, out
        listed = await real.command("keys", "-list")
        assert new in listed and "[3/3]" in listed
        assert old not in listed
        await members[1].gossip.set_tags({"after": "rotation"})
        await real.eventually({"n0": "alive", "n1": "alive"})
        await eventually(
            lambda: dict(members[0].gossip.member("n1").tags) == {"after": "rotation"},  # type: ignore[union-attr]
            "gossip under the new key",
        )


async def test_keys_are_rotated_by_us_under_traffic_with_serf_in_the_ring(
    tmp_path: pathlib.Path,
) -> None:
    new_key = bytes(range(100, 132))
    new, old = (base64.b64encode(key).decode() for key in (new_key, KEY))
    async with contextlib.AsyncExitStack() as stack:
        # With the local profile's 2 transmits serf's own queries miss a member now and then.
        configs = (quick(f"n{i}", keys=(KEY,), retransmit_mult=4) for i in range(3))
        three = ring(*configs)
        members = await stack.enter_async_context(three)
        agent = serf_agent(members[0].address, tmp_path / "serf.log", f"-encrypt={old}")
        real = await stack.enter_async_context(agent)
        await real.eventually({"n0": "alive", "n1": "alive", "n2": "alive"})
        await eventually(
            lambda: all(m.status("real") is MemberStatus.ALIVE for m in members), "joined"
        )
        out = await real.command("keys", f"-install={new}")
        assert "Successfully" in out, out
        keys = members[1].gossip.ring_keys
        members[2].gossip._framing.keyring.remove(new_key)
        refused = await keys.change(KeyOperation.USE, new_key)
        assert refused.messages == {"n2": "Requested key is not in the keyring"}
        for operation, key in (
            (KeyOperation.INSTALL, new_key),
            (KeyOperation.USE, new_key),
            (KeyOperation.REMOVE, KEY),
        ):
            for number, member in enumerate(members):
                member.gossip.user_event(f"{operation.name}-{number}", b"traffic")
            report = await keys.change(operation, key, relay_factor=1)
            assert report.ok, report.messages
            assert report.done == {"n0", "n1", "n2", "real"}
        listed = await real.command("keys", "-list")
        assert new in listed
        assert "[4/4]" in listed, listed
        assert old not in listed
        await members[2].gossip.set_tags({"after": "rotation"})
        async with asyncio.timeout(10.0):
            while "after=rotation" not in await real.command("members"):
                await asyncio.sleep(0.05)
        assert set((await real.statuses()).values()) == {"alive"}
        assert all("failed" not in m.kinds(n) for m in members for n in ("n0", "n1", "n2", "real"))


async def test_queries_are_answered_by_serf_and_by_us(tmp_path: pathlib.Path) -> None:
    async def handler(name: str, payload: bytes) -> bytes | None:
        return b"ours " + payload if name == "uptime" else None

    ours = Watched(quick("n0"), on_query=handler)
    await ours.gossip.start()
    try:
        log = tmp_path / "serf.log"
        async with serf_agent(ours.address, log, "-event-handler=query:uptime=cat") as real:
            await real.eventually({"n0": "alive"})
            await eventually(lambda: ours.status("real") is MemberStatus.ALIVE, "joined")
            said, acked = {}, set()
            stream = ours.gossip.query(Question(name="uptime", payload=b"hi", ack=True))
            async for answer in stream:
                if answer.payload is None:
                    acked.add(answer.sender)
                else:
                    said[answer.sender] = answer.payload
                if len(said) == len(acked) == 2:
                    stream.close()
            assert said == {"n0": b"ours hi", "real": b"hi\n"}
            assert acked == {"n0", "real"}
            out = await real.command("query", "-timeout=1s", "uptime", "there")
            assert "Response from 'n0': ours there" in out, out
    finally:
        await ours.gossip.stop()


async def test_the_round_trip_to_us_is_estimated_by_serf(tmp_path: pathlib.Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        (only,) = await stack.enter_async_context(ring(quick("n0")))
        real = await stack.enter_async_context(serf_agent(only.address, tmp_path / "serf.log"))
        await real.eventually({"n0": "alive"})
        await eventually(
            lambda: "real" in only.gossip._core.coordinates.known, "a measured round trip"
        )
        out = ""
        async with asyncio.timeout(15.0):
            while "Estimated" not in out:
                out = await real.command("rtt", "n0")
                await asyncio.sleep(0.1)
