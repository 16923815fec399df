"""Which keys an agent starts with: the file's if there is one, `encrypt` for the first start."""

from __future__ import annotations

import base64
import json
import pathlib

import pytest

from agent.config.schema import AgentConfig
from agent.errors import ConfigError
from agent.gossip_keys import take_keys
from agent.membership import gossip_config

A, B = bytes(16), bytes(range(32))
A_TEXT, B_TEXT = (base64.b64encode(key).decode() for key in (A, B))


def config(folder: pathlib.Path | None, encrypt: str = "", **changes: bool) -> AgentConfig:
    data_dir = str(folder) if folder else ""
    return AgentConfig(node_name="n", data_dir=data_dir, encrypt=encrypt, **changes)  # type: ignore[arg-type]


def test_the_first_start_writes_the_file_and_later_ones_read_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "serf" / "local.keyring"
    assert take_keys(config(tmp_path)).gossip_keys == ()
    assert not path.exists()
    assert take_keys(config(tmp_path, A_TEXT)).gossip_keys == (A,)
    assert json.loads(path.read_text()) == [A_TEXT]
    assert path.stat().st_mode & 0o777 == 0o600
    assert take_keys(config(tmp_path)).gossip_keys == (A,)


def test_the_file_wins_and_another_key_in_the_configuration_is_warned_of(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "serf").mkdir()
    (tmp_path / "serf" / "local.keyring").write_text(json.dumps([B_TEXT, A_TEXT]))
    assert take_keys(config(tmp_path, B_TEXT)).gossip_keys == (B, A)
    assert not caplog.records
    assert take_keys(config(tmp_path, A_TEXT)).gossip_keys == (B, A)
    assert "using the keyring" in caplog.text


def test_a_broken_file_ends_the_start(tmp_path: pathlib.Path) -> None:
    (tmp_path / "serf").mkdir()
    (tmp_path / "serf" / "local.keyring").write_text("[]")
    with pytest.raises(ConfigError, match=r"Failed to configure keyring: .*contains no keys"):
        take_keys(config(tmp_path, A_TEXT))


def test_without_a_folder_or_a_file_keys_stay_in_memory(tmp_path: pathlib.Path) -> None:
    for given in (config(None, A_TEXT), config(tmp_path, A_TEXT, disable_keyring_file=True)):
        taken = take_keys(given)
        assert taken.gossip_keys == (A,)
        assert gossip_config(taken).keyring_path == ""
    assert list(tmp_path.iterdir()) == []


def test_gossip_gets_keys_file_and_rules(tmp_path: pathlib.Path) -> None:
    taken = take_keys(
        config(tmp_path, A_TEXT, encrypt_verify_incoming=False, encrypt_verify_outgoing=False)
    )
    ring = gossip_config(taken)
    assert ring.keys == (A,)
    assert ring.keyring_path == str(tmp_path / "serf" / "local.keyring")
    assert (ring.encrypt_verify_incoming, ring.encrypt_verify_outgoing) == (False, False)
