"""Files of the audit log on a real disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent.audit import sink
from agent.audit.config import SinkConfig
from agent.audit.sink import AuditLog
from tests.waiting import eventually


def config(path: Path, **more: int) -> SinkConfig:
    return SinkConfig(name="s", path=str(path), **more)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def beside(path: Path) -> list[Path]:
    return sorted(each for each in path.parent.iterdir() if each != path)


async def test_events_are_appended_in_order_and_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "audit.json"
    for round in range(2):
        log = AuditLog([config(path)], queue_max=100)
        log.start()
        for number in range(50):
            log.put(b"%d-%d\n" % (round, number))
        await log.close()
        assert (log.stats().written, log.stats().lost_queue_full) == (50, 0)
    lines = content(path).split()
    assert lines == [f"{round}-{number}" for round in range(2) for number in range(50)]
    assert mode(path) == 0o600


async def test_a_full_file_is_put_aside_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    log = AuditLog([config(path, rotate_bytes=25, rotate_max_files=2)], queue_max=100)
    log.start()
    for number in range(10):
        log.put(b"%09d\n" % number)
    await log.close()
    aside = beside(path)
    assert [len(content(each).split()) for each in (*aside, path)] == [2, 2, 2]
    assert content(path).split() == ["000000008", "000000009"]
    assert log.stats().rotated == 4
    assert all(mode(each) == 0o600 for each in aside)


def in_the_way(path: Path) -> None:
    """What stands where the file should be, and cannot be written: also not by root."""
    path.unlink()
    path.mkdir()


def out_of_the_way(path: Path) -> None:
    path.rmdir()


def content(path: Path) -> str:
    return path.read_text()


async def test_nobody_waits_for_a_disk_that_does_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "RETRY_S", 0.0)
    path = tmp_path / "audit.json"
    log = AuditLog([config(path)], queue_max=4)
    for _ in range(9):
        log.put(b"x\n")  # the thread does not run yet
    assert log.stats().lost_queue_full == 5
    log.start()
    eventually(lambda: log.stats().written == 4, within_s=5, what="the queue is written")
    log._files[0].close()
    in_the_way(path)
    log.put(b"lost\n")
    eventually(lambda: log.stats().lost_write_failed == 1, within_s=5, what="a write failed")
    out_of_the_way(path)
    log.put(b"again\n")
    eventually(lambda: log.stats().written == 5, within_s=5, what="it is written again")
    await log.close()
    assert content(path) == "again\n"


def test_a_file_that_cannot_be_opened_is_known_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "audit.json").mkdir()
    with pytest.raises(OSError):
        AuditLog([config(tmp_path / "audit.json")], queue_max=1).start()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "audit.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        AuditLog([config(tmp_path / "audit.json")], queue_max=1).start()
