"""The spellings of bounds on requests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agent.config.bounds import Limits
from agent.config.keys import KEYS_BY_PATH
from agent.errors import ConfigError
from tests.agent.config.hosts import load_values


def test_all_bounds_have_keys_and_are_off_by_default(tmp_path: Path) -> None:
    config = load_values({}, tmp_path).config.request_limits
    assert (config.mode, set(config.rates.values())) == ("disabled", {-1.0})
    given = {"mode": "enforcing", "read_rate": 1.5, "write_rate": 2, "token_read_rate": 3,
             "token_write_rate": 4, "client_read_rate": 5, "client_write_rate": 6,
             "names_max": 9}  # fmt: skip
    limits = {"request_limits": given, "rpc_rate": 7, "rpc_max_burst": 8}
    loaded = load_values({"limits": limits}, tmp_path)
    config = loaded.config.request_limits
    assert (config.mode, list(config.rates.values())) == ("enforcing", [1.5, 2, 3, 4, 5, 6, 7])
    assert (config.rpc_burst, config.names_max) == (8, 9)
    assert loaded.warnings == ()


def test_a_server_does_not_bound_what_it_asks_of_others(tmp_path: Path) -> None:
    limits = {"rpc_rate": 7, "rpc_max_burst": 8}
    config = load_values({"server": True, "limits": limits}, tmp_path).config
    assert config.request_limits.rpc_rate == -1.0


def test_a_mode_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='"lenient" is not one of disabled, permissive'):
        load_values({"limits": {"request_limits": {"mode": "lenient"}}}, tmp_path)


#: The reference's own number, of which every client knows.
FIXED = {"limits.txn_operations_max"}


def test_every_bound_has_a_name_in_the_configuration() -> None:
    named = {key.target for key in KEYS_BY_PATH.values()}
    missing = {f"limits.{field.name}" for field in dataclasses.fields(Limits)} - named
    assert missing == FIXED


@pytest.mark.parametrize("size", [1, 4 * 1024 * 1024 - 1, 256 * 1024 * 1024 + 1])
def test_a_frame_that_holds_no_transaction_is_refused(size: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"limits\.rpc_frame_max: \d+ is not within"):
        load_values({"limits": {"rpc_frame_max": size}}, tmp_path)
    good = load_values({"limits": {"rpc_frame_max": 16 * 1024 * 1024}}, tmp_path).config
    assert good.limits.rpc_frame_max == 16 * 1024 * 1024
