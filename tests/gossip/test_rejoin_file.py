"""The file of what a member remembers."""

# ruff: noqa: ASYNC240  (the files are small, and nobody waits for this loop)

from __future__ import annotations

import asyncio
import logging
import os
import pathlib
from collections.abc import Coroutine
from typing import Any

import pytest

from gossip import rejoin, rejoin_file
from gossip.rejoin import Clocks, parse
from gossip.rejoin_file import RejoinFile
from gossip.roster import Member, MemberEvent, MemberEventKind, MemberStatus
from tests.gossip.rings import eventually


def event(name: str, kind: MemberEventKind = MemberEventKind.JOIN, port: int = 1) -> MemberEvent:
    member = Member(
        name=name,
        address="10.0.0.1" if name != "six" else "::1",
        port=port,
        tags={},
        status=MemberStatus.ALIVE,
        protocol_min=1,
        protocol_max=5,
        protocol_current=2,
        delegate_min=2,
        delegate_max=5,
        delegate_current=5,
    )
    return MemberEvent(kind, member)


class Life:
    """One life of a member with a file."""

    def __init__(self, path: pathlib.Path, *, after_leave: bool = False) -> None:
        self.clocks = Clocks()
        self._tasks: set[asyncio.Task[None]] = set()
        self.file = RejoinFile(
            str(path),
            own_name="me",
            after_leave=after_leave,
            clocks=lambda: self.clocks,
            spawn=self._spawn,
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "local.snapshot"


async def test_members_and_clocks_come_back_and_a_leave_forgets_them(path: pathlib.Path) -> None:
    life = Life(path)
    assert (await life.file.load()).peers == {}
    for name in ("me", "n1", "n2", "six", "failed"):
        life.file.member_changed(event(name))
    life.file.member_changed(event("n2", MemberEventKind.LEAVE))
    life.file.member_changed(event("failed", MemberEventKind.FAILED))
    life.clocks = Clocks(3, 2, 1)
    life.file.look()
    await life.file.close()
    assert path.stat().st_mode & 0o777 == 0o600
    again = Life(path)
    found = await again.file.load()
    assert found.peers == {"n1": "10.0.0.1:1", "six": "[::1]:1", "failed": "10.0.0.1:1"}
    assert found.clocks == Clocks(3, 2, 1)
    await again.file.forget()
    again.file.member_changed(event("n9"))
    await again.file.close()
    assert not path.exists()
    await again.file.forget()


async def test_what_happens_is_soon_on_the_disk_without_a_stop(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejoin_file, "FLUSH_S", 0.01)
    life = Life(path)
    await life.file.load()
    life.file.member_changed(event("n1"))
    await eventually(lambda: path.exists() and "n1" in parse(path.read_bytes())[0].peers, "n1")
    before = path.read_bytes()
    life.clocks = Clocks(0, 7, 0)
    life.file.look()
    await eventually(lambda: path.read_bytes() == before + b"event-clock: 7\n", "appended")


async def test_a_leave_that_may_be_taken_back_forgets_nothing(path: pathlib.Path) -> None:
    life = Life(path, after_leave=True)
    await life.file.load()
    life.file.member_changed(event("n1"))
    await life.file.forget()
    assert (await Life(path).file.load()).peers == {"n1": "10.0.0.1:1"}


@pytest.mark.parametrize("torn", [b"alive: n2 10.0.0.1:83", b"ev"])
async def test_half_a_line_is_cut_off_before_more_is_written(
    path: pathlib.Path, torn: bytes
) -> None:
    path.write_bytes(b"alive: n1 10.0.0.1:1\n" + torn)
    life = Life(path)
    assert set((await life.file.load()).peers) == {"n1"}
    life.clocks = Clocks(5)
    life.file.look()
    await life.file.close()
    assert parse(path.read_bytes()) == (
        rejoin.Remembered({"n1": "10.0.0.1:1"}, Clocks(5)),
        "",
    )


async def test_damage_costs_a_warning_and_is_gone_with_the_next_write(
    path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(b"\x00\x01garbage\nalive: n1 10.0.0.1:1\n")
    life = Life(path)
    with caplog.at_level(logging.WARNING):
        assert set((await life.file.load()).peers) == {"n1"}
    assert "rejoin file damaged, the rest is used" in caplog.text
    life.file.member_changed(event("n2"))
    await life.file.close()
    assert parse(path.read_bytes())[1] == ""


async def test_a_file_that_cannot_be_read_or_written_stops_nobody(
    path: pathlib.Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejoin_file, "FILE_BYTES_MAX", 8)
    path.write_bytes(b"alive: n1 10.0.0.1:1\n")
    too_long = Life(path)
    assert (await too_long.file.load()).peers == {}
    path.unlink()
    os.mkdir(path)
    life = Life(path)
    assert (await life.file.load()).peers == {}
    life.file.member_changed(event("n1"))
    await life.file.close()
    assert caplog.text.count("rejoin file ignored") == 2
    assert "rejoin file not written" in caplog.text


async def test_after_a_failed_write_the_file_is_written_whole(path: pathlib.Path) -> None:
    life = Life(path)
    await life.file.load()
    life.file.member_changed(event("n1"))
    await life.file._flush()
    path.unlink()
    life.file.member_changed(event("n2"))
    await life.file._flush()  # nothing to append to
    life.file.member_changed(event("n3"))
    await life.file.close()
    assert set(parse(path.read_bytes())[0].peers) == {"n1", "n2", "n3"}
