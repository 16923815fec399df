"""Where a server has its seal key from."""

from __future__ import annotations

import os

import pytest

from agent.connect.sealing import NO_SEAL, Seal
from agent.errors import ConfigError
from agent.seal_key import SEAL_KEY_VARIABLE, read_seal


def test_a_file_or_the_environment_which_no_child_inherits(tmp_path, monkeypatch, caplog):
    assert read_seal("") == NO_SEAL
    assert "lie clear" in caplog.text
    key = bytes(range(32))
    monkeypatch.setenv(SEAL_KEY_VARIABLE, "ff" * 32)
    assert read_seal("") == Seal(b"\xff" * 32)
    assert SEAL_KEY_VARIABLE not in os.environ
    file = tmp_path / "seal.key"
    file.write_text(key.hex() + "\n")
    assert read_seal(str(file)) == Seal(key)


def test_what_is_none_is_refused_and_not_told(tmp_path):
    file = tmp_path / "seal.key"
    for content in ("", "secret", "é"):
        file.write_text(content)
        with pytest.raises(ConfigError, match=r"connect\.ca_seal_key_file") as refused:
            read_seal(str(file))
        assert "secret" not in str(refused.value).replace(str(tmp_path), "")
    with pytest.raises(ConfigError, match="No such file"):
        read_seal(str(tmp_path / "none"))


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_key_that_lies_clear_is_told_where_it_lies_at_all(
    on_disk: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_seal("", on_disk=on_disk) == NO_SEAL
    assert ("lie clear" in caplog.text) is on_disk
