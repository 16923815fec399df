"""The file of known peers."""

from __future__ import annotations

import pathlib

import pytest

from gossip import rejoin


def test_peers_come_back_and_are_forgotten(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "peers.json")
    assert rejoin.load(path) == ()
    rejoin.save(path, ["10.0.0.1:1", "[::1]:2"])
    assert rejoin.load(path) == ("10.0.0.1:1", "[::1]:2")
    assert pathlib.Path(path).stat().st_mode & 0o777 == 0o600
    rejoin.forget(path)
    rejoin.forget(path)
    assert rejoin.load(path) == ()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2, "peers": []}', '{"format": 1}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: pathlib.Path, text: str) -> None:
    path = tmp_path / "peers.json"
    path.write_text(text)
    assert rejoin.load(str(path)) == ()


def test_the_number_of_peers_is_bounded(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "peers.json")
    rejoin.save(path, (f"h:{index}" for index in range(1, 5000)))
    assert len(rejoin.load(path)) == rejoin.PEERS_MAX
