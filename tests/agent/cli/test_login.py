"""The file that a login leaves."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent.cli.login import write_secret


def test_a_secret_is_its_owners_alone_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sink"
    write_secret(str(path), "one")
    path.chmod(0o644)
    write_secret(str(path), "two")
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["sink"]


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "sink").mkdir()
    with pytest.raises(OSError):
        write_secret(str(tmp_path / "sink"), "secret")
    assert [each.name for each in tmp_path.iterdir()] == ["sink"]
