"""Files of the log: their names, when one ends, which old ones are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.config.schema import LogFileConfig
from agent.errors import ConfigError
from agent.log_files import LogFile

LINE = "x" * 9 + "\n"


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.ns = 10**18

    def __call__(self) -> int:
        self.ns += 1
        return self.ns


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("path", "start", "end"),
    [
        ("a.log", "a-", ".log"),
        ("a", "a-", ".log"),
        ("a.txt", "a-", ".txt"),
        ("", "consul-", ".log"),
        ("folder", "consul-", ".log"),
    ],
)
def test_names_are_those_that_consul_gives(tmp_path: Path, path: str, start: str, end: str) -> None:
    (tmp_path / "folder").mkdir()
    LogFile(LogFileConfig(path=f"{tmp_path}/{path}"), now_ns=Clock()).close()
    folder = tmp_path / "folder" if path == "folder" else tmp_path
    (name,) = (n for n in names(folder) if n != "folder")
    assert name.startswith(start) and name.endswith(end)
    assert name[len(start) : -len(end)].isdecimal()


def test_a_file_ends_by_its_size(tmp_path: Path) -> None:
    log = LogFile(LogFileConfig(path=f"{tmp_path}/a.log", rotate_bytes=25), now_ns=Clock())
    for _ in range(7):
        log.write(LINE)
        log.flush()
    log.close()
    sizes = [os.path.getsize(tmp_path / name) for name in names(tmp_path)]
    assert sizes == [30, 30, 10]


def test_a_file_ends_by_its_age_but_not_while_it_is_empty(tmp_path: Path) -> None:
    clock = Clock()
    log = LogFile(LogFileConfig(path=f"{tmp_path}/a.log", rotate_s=60), now_ns=clock)
    clock.ns += 120 * 10**9
    log.write(LINE)
    assert len(names(tmp_path)) == 1
    log.write(LINE)
    assert len(names(tmp_path)) == 2
    log.write(LINE)
    assert len(names(tmp_path)) == 2
    log.close()


@pytest.mark.parametrize(("kept", "left"), [(0, 6), (2, 3), (1, 2), (-1, 1)])
def test_old_files_are_kept_as_many_as_are_wanted(tmp_path: Path, kept: int, left: int) -> None:
    others = {"a-note.log", "b-1.log", "a-7.txt"}
    for name in others:
        (tmp_path / name).touch()
    config = LogFileConfig(path=f"{tmp_path}/a.log", rotate_bytes=1, max_files=kept)
    log = LogFile(config, now_ns=Clock())
    for _ in range(6):
        log.write(LINE)
        log.flush()
    log.close()
    ours = [name for name in names(tmp_path) if name not in others]
    assert len(ours) == left
    assert os.path.getsize(tmp_path / ours[-1]) == 10, "the newest is among them"
    assert others <= set(names(tmp_path))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log_file cannot be written: .*No such file"):
        LogFile(LogFileConfig(path=f"{tmp_path}/no/a.log"))
