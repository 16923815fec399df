"""A node keeps its id, and a data directory has one owner."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

import pytest

from agent.errors import ConfigError
from agent.local.identity import claim_data_dir, load_node_id, read_host_id, write_durably


def test_the_id_survives_a_restart(tmp_path: Path) -> None:
    first = load_node_id(str(tmp_path), "")
    assert load_node_id(str(tmp_path), "") == first
    assert uuid.UUID(first)
    assert (tmp_path / "node-id").stat().st_mode & 0o777 == 0o600


def test_a_configured_id_wins_and_is_lower_case(tmp_path: Path) -> None:
    wanted = str(uuid.uuid4()).upper()
    assert load_node_id(str(tmp_path), wanted) == wanted.lower()


def test_an_id_is_made_of_the_hosts_as_consuls_agents_do(tmp_path: Path) -> None:
    host_id = "5ba8d5c2-31f9-4c1d-9c0a-0123456789ab"
    made = load_node_id(str(tmp_path), "", host_id=host_id.upper())
    digest = hashlib.sha512(host_id.encode()).hexdigest()
    assert made.replace("-", "") == digest[:32]
    assert load_node_id("", "", host_id=host_id) == made
    assert load_node_id(str(tmp_path), "", host_id="another") == made, "it is kept"


def test_a_host_has_one_id() -> None:
    assert read_host_id() == read_host_id()
    assert not read_host_id() or uuid.UUID(read_host_id())


def test_without_a_data_directory_the_id_is_fresh() -> None:
    assert load_node_id("", "") != load_node_id("", "")


def test_a_damaged_id_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "node-id").write_text("not a uuid")
    with pytest.raises(ConfigError, match="Remove the file"):
        load_node_id(str(tmp_path), "")


def test_two_agents_cannot_share_a_directory(tmp_path: Path) -> None:
    held = claim_data_dir(str(tmp_path / "data"))
    with pytest.raises(ConfigError, match="in use by another agent"):
        claim_data_dir(str(tmp_path / "data"))
    os.close(held)
    os.close(claim_data_dir(str(tmp_path / "data")))


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        claim_data_dir(str(tmp_path / "file" / "data"))


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_durably(path, b"old content")
    write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
