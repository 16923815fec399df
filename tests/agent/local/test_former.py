"""Which names a host had since the catalog last heard of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.local.former import NAMES_MAX, former_names, keep_only
from raftstore.records import NodeName


def names(tmp_path: Path, *in_turn: str) -> tuple[str, ...]:
    for each in in_turn[:-1]:
        former_names(tmp_path, NodeName(each))
    return former_names(tmp_path, NodeName(in_turn[-1]))


def test_a_host_that_keeps_its_name_has_no_other(tmp_path: Path) -> None:
    assert names(tmp_path, "a") == names(tmp_path, "a") == ()


def test_each_name_counts_until_the_catalog_knows_the_present_one(tmp_path: Path) -> None:
    assert names(tmp_path, "a", "b", "c", "c") == ("a", "b")
    keep_only(tmp_path, NodeName("c"))
    assert names(tmp_path, "c") == ()
    assert names(tmp_path, "d", "c") == ("d",)


def test_a_disk_that_takes_nothing_keeps_no_agent_from_starting(tmp_path: Path) -> None:
    assert names(tmp_path, "a", "b") == ("a",)
    (tmp_path / "node-names.tmp").mkdir()  # where the new file would be written
    assert names(tmp_path, "c") == ("a", "b")


def test_names_are_bounded(tmp_path: Path) -> None:
    found = names(tmp_path, *(f"n{number}" for number in range(20)))
    assert len(found) == NAMES_MAX - 1 and found[-1] == "n18"


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff", b"[" * 2000, b"[" + b" " * 70_000])
def test_what_cannot_be_read_is_no_name(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "node-names").write_bytes(text)
    assert names(tmp_path, "a") == ()
    assert names(tmp_path, "b") == ("a",)
