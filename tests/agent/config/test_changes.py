"""Which changes of files are taken over, and which wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.changes import Effect, changes, effect_of, in_force
from agent.config.keys import KEYS, KEYS_BY_PATH, Standing
from agent.config.load import AgentFlags, load
from tests.agent.config.hosts import host

VALUES = st.dictionaries(
    st.sampled_from(["log_level", "services", "ports.http", "data_dir", "peering.enabled"]),
    st.integers(0, 2),
)


@given(VALUES, VALUES)
def test_what_is_live_is_in_force_afterwards_and_nothing_else(
    running: dict[str, Any], read: dict[str, Any]
) -> None:
    after = in_force(running, read)
    left = {change.key for change in changes(after, read, {})}
    before = {change.key: change.effect for change in changes(running, read, {})}
    assert left == {key for key, effect in before.items() if effect is not Effect.LIVE}
    assert changes(read, read, {}) == ()
    assert in_force(after, read) == after


def test_a_key_that_never_counts_has_no_effect() -> None:
    for key in KEYS:
        assert (effect_of(key) is Effect.NOTHING) == (key.standing is not Standing.NOW)


@pytest.mark.parametrize(
    "path",
    [
        "log_level", "services", "checks", "watches", "dns_config.node_ttl", "recursors",
        "discard_check_output", "limits.http_max_conns_per_client",
    ],
)  # fmt: skip
def test_what_the_contract_calls_reloadable_is_live(path: str) -> None:
    assert KEYS_BY_PATH[path].live


def test_sources_are_told_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text('{"datacenter": "a", "service": {"name": "web"}}')
    Path("b.hcl").write_text('datacenter = "b"')
    loaded = load(
        AgentFlags(
            dev=True,
            paths=["a.json", "b.hcl"],
            values={"node_name": "n", "bind_addr": "127.0.0.1"},
            fragments=['node_name = "m"'],
        ),
        host=host(),
    )
    assert loaded.values["datacenter"] == "b"
    assert loaded.origins["datacenter"] == ("a.json", "b.hcl")
    assert loaded.origins["services"] == ("a.json",)
    assert loaded.origins["node_name"] == ("flags", "flags-0.hcl")
    assert loaded.origins["bind_addr"] == ("-dev", "flags")
