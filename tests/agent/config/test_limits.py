"""The spellings of bounds on requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import ConfigError
from tests.agent.config.hosts import load_values


def test_all_bounds_have_keys_and_are_off_by_default(tmp_path: Path) -> None:
    config = load_values({}, tmp_path).config.request_limits
    assert (config.mode, set(config.rates.values())) == ("disabled", {-1.0})
    given = {"mode": "enforcing", "read_rate": 1.5, "write_rate": 2, "token_read_rate": 3,
             "token_write_rate": 4, "client_read_rate": 5, "client_write_rate": 6}  # fmt: skip
    limits = {"request_limits": given, "rpc_rate": 7, "rpc_max_burst": 8}
    loaded = load_values({"limits": limits}, tmp_path)
    config = loaded.config.request_limits
    assert (config.mode, list(config.rates.values())) == ("enforcing", [1.5, 2, 3, 4, 5, 6, 7])
    assert config.rpc_burst == 8
    assert loaded.warnings == ()


def test_a_server_does_not_bound_what_it_asks_of_others(tmp_path: Path) -> None:
    limits = {"rpc_rate": 7, "rpc_max_burst": 8}
    config = load_values({"server": True, "limits": limits}, tmp_path).config
    assert config.request_limits.rpc_rate == -1.0


def test_a_mode_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='"lenient" is not one of disabled, permissive'):
        load_values({"limits": {"request_limits": {"mode": "lenient"}}}, tmp_path)
