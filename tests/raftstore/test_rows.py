"""Rows of the journal as bytes."""

from __future__ import annotations

import pytest

from raftstore import rows
from raftstore.errors import DecodeError
from raftstore.records import Node, NodeName


def test_a_row_comes_back_as_it_was():
    node = Node(name=NodeName("n1"), address="a")
    assert rows.read("nodes", rows.write("nodes", node)) == node


@pytest.mark.parametrize(("table", "data"), [("what", b"\x90"), ("nodes", b"\xc1"), ("nodes", b"")])
def test_what_is_no_row_is_refused(table, data):
    with pytest.raises(DecodeError):
        rows.read(table, data)


def test_names_never_change():
    """They are in snapshots and in what clients filter by: append only."""
    assert list(rows.TYPES)[:8] == [
        "nodes", "services", "checks", "kv", "intentions", "ca-config", "ca-roots", "ca-serial",
    ]  # fmt: skip
