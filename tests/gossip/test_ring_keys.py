"""Keys of real rings: rotation under traffic, safe stops, members that are down, files."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator

import pytest

from gossip import KeyOperation, KeyReport, KeyringError, MemberStatus, keyfile
from gossip.rotation import IS_PRIMARY, LACKS_KEY
from tests.gossip.rings import Watched, eventually, quick, ring

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
INSTALL, USE, REMOVE = KeyOperation.INSTALL, KeyOperation.USE, KeyOperation.REMOVE


@contextlib.asynccontextmanager
async def encrypted(folder: pathlib.Path, size: int = 3) -> AsyncIterator[list[Watched]]:
    configs = [
        quick(f"n{i}", keys=(OLD,), keyring_path=str(folder / f"n{i}.keyring")) for i in range(size)
    ]
    async with ring(*configs) as members:
        yield members


async def test_a_rotation_under_traffic_loses_nobody(tmp_path: pathlib.Path) -> None:
    told: list[int] = []
    async with encrypted(tmp_path) as members:
        keys = members[0].gossip.ring_keys

        async def traffic() -> None:
            for number in range(10_000):
                members[number % 3].gossip.user_event(f"e{number}", b"x")
                await asyncio.sleep(0.005)

        async with asyncio.TaskGroup() as group:
            busy = group.create_task(traffic())
            for operation, key in ((INSTALL, NEW), (USE, NEW), (REMOVE, OLD)):
                report = await keys.change(
                    operation, key, progress=lambda r: told.append(len(r.done) + len(r.held))
                )
                assert report.ok, report.messages
                assert report.done == {"n0", "n1", "n2"}
            busy.cancel()
        assert told[:3] == [1, 2, 3]
        listed = await members[2].gossip.ring_keys.list()
        assert len({held.keys for held in listed.held.values()}) == 1
        for index in range(3):
            assert keyfile.load(str(tmp_path / f"n{index}.keyring")) == (NEW,)
        await members[1].gossip.set_tags({"after": "rotation"})
        await eventually(
            lambda: all("after" in (m.gossip.member("n1") or m).tags for m in members),  # type: ignore[union-attr]
            "gossip under the new key",
        )
        assert all(m.kinds(name) == ["join"] for m in members for name in ("n0", "n2"))


async def test_use_and_remove_stop_before_they_cut_somebody_off(tmp_path: pathlib.Path) -> None:
    async with encrypted(tmp_path) as members:
        first = members[0].gossip
        lacking = await first.ring_keys.change(USE, NEW)
        assert lacking.failed == dict.fromkeys(("n0", "n1", "n2"), LACKS_KEY)
        assert not lacking.changed
        await first.ring_keys.change(INSTALL, NEW)
        members[2].gossip._framing.keyring.remove(NEW)
        one = await first.ring_keys.change(USE, NEW)
        assert one.messages == {"n2": LACKS_KEY}
        primary = await members[1].gossip.ring_keys.change(REMOVE, OLD)
        assert primary.failed == dict.fromkeys(("n0", "n1", "n2"), IS_PRIMARY)
        assert first.ring_keys.last == one
        assert all(m.gossip._framing.keyring.keys[0] == OLD for m in members)
        assert (await first.ring_keys.change(INSTALL, NEW)).ok
        assert (await first.ring_keys.change(USE, NEW)).ok


async def test_a_member_whose_disk_fails_is_named_and_keeps_its_keys(
    tmp_path: pathlib.Path,
) -> None:
    async with encrypted(tmp_path) as members:
        (tmp_path / "n1.keyring.tmp").mkdir()
        report = await members[0].gossip.ring_keys.change(INSTALL, NEW)
        assert set(report.failed) == {"n1"}
        assert "Failed to write keyring file" in report.failed["n1"]
        assert report.done == {"n0", "n2"}
        assert members[1].gossip._framing.keyring.keys == (OLD,)
        assert not (await members[2].gossip.ring_keys.change(USE, NEW)).changed


async def test_a_member_that_is_down_is_named_and_comes_back_with_the_new_key(
    tmp_path: pathlib.Path,
) -> None:
    async with encrypted(tmp_path) as members:
        first = members[0]
        port = members[2].gossip.local_member().port
        await members[2].gossip.stop()
        await eventually(lambda: first.status("n2") is MemberStatus.FAILED, "n2 failed")
        for operation, key in ((INSTALL, NEW), (USE, NEW), (REMOVE, OLD)):
            report: KeyReport = await first.gossip.ring_keys.change(operation, key)
            assert report.ok
            assert report.away == ("n2",)
        back = Watched(quick("n2", keys=(OLD,)))
        await back.gossip.start()
        try:
            assert (await back.gossip.join([first.address])).joined == 0
        finally:
            await back.gossip.stop()
        assert first.status("n1") is MemberStatus.ALIVE
        back = Watched(quick("n2", keys=(NEW,), bind_port=port))
        await back.gossip.start()
        try:
            assert (await back.gossip.join([first.address])).joined == 1
            await eventually(lambda: first.status("n2") is MemberStatus.ALIVE, "n2 is back")
        finally:
            await back.gossip.stop()


async def test_one_change_at_a_time_from_one_member(tmp_path: pathlib.Path) -> None:
    async with encrypted(tmp_path) as members:
        keys = members[0].gossip.ring_keys
        async with asyncio.TaskGroup() as group:
            running = group.create_task(keys.change(INSTALL, NEW))
            await asyncio.sleep(0)
            assert keys.running is not None
            with pytest.raises(KeyringError, match="under way"):
                await keys.change(INSTALL, NEW)
        assert running.result().ok
        assert keys.running is None


async def test_a_plain_ring_becomes_an_encrypted_one_in_three_rounds_of_restarts() -> None:
    rounds = (
        {"encrypt_verify_incoming": False, "encrypt_verify_outgoing": False},
        {"encrypt_verify_incoming": False, "encrypt_verify_outgoing": True},
        {"encrypt_verify_incoming": True, "encrypt_verify_outgoing": True},
    )
    members = [Watched(quick(f"n{i}")) for i in range(3)]
    try:
        for member in members:
            await member.gossip.start()
        for member in members[1:]:
            assert (await member.gossip.join([members[0].address])).joined
        for changes in rounds:
            for index in range(3):
                await members[index].gossip.leave()
                members[index] = fresh = Watched(quick(f"n{index}", keys=(NEW,), **changes))
                await fresh.gossip.start()
                assert (await fresh.gossip.join([members[(index + 1) % 3].address])).joined
                await eventually(
                    lambda: all(
                        m.status(f"n{i}") is MemberStatus.ALIVE for m in members for i in range(3)
                    ),
                    "everybody sees everybody",
                )
        assert (await members[0].gossip.ring_keys.list()).ok
    finally:
        for member in members:
            await member.gossip.stop()
