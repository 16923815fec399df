"""Profiles and refusals of the configuration."""

from __future__ import annotations

from typing import Any

import pytest

from gossip.config import GossipConfig
from gossip.errors import ConfigError


def test_the_profiles_have_the_figures_of_the_field() -> None:
    lan, wan, local, dev = (
        getattr(GossipConfig, name)("x") for name in ("lan", "wan", "local", "dev")
    )
    assert (lan.probe_interval_s, lan.probe_timeout_s, lan.suspicion_mult) == (1.0, 0.5, 4)
    assert (wan.probe_interval_s, wan.probe_timeout_s, wan.suspicion_mult) == (5.0, 3.0, 6)
    assert (local.probe_timeout_s, local.retransmit_mult, local.suspicion_mult) == (0.2, 2, 3)
    assert (dev.probe_interval_s, dev.probe_timeout_s, dev.gossip_interval_s) == (0.1, 0.1, 0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 129},
        {"keys": (b"short",)},
        {"label": "x" * 256},
        {"bind_port": 65536},
        {"probe_timeout_s": 2.0},
        {"gossip_interval_s": 0.0},
        {"suspicion_mult": 0},
        {"suspicion_grace_mult": -1},
        {"encryption_version": 2},
        {"packet_budget_bytes": 9000},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        GossipConfig(**{"name": "x", **changes})
