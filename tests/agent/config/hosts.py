"""Hosts with known names and interfaces, and short ways to load a configuration on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.config.load import AgentFlags, Host, LoadedConfig, load
from agent.config.sockaddr import Interface

LOOPBACK = Interface(name="lo", address="127.0.0.1", prefix_length=8, loopback=True)
ETH0 = Interface(name="eth0", address="10.0.0.5", prefix_length=24, default=True)
ETH1 = Interface(name="eth1", address="192.168.1.7", prefix_length=16)
PUBLIC = Interface(name="eth2", address="8.8.4.4", prefix_length=24)
V6 = Interface(name="eth0", address="fd00::5", prefix_length=64, default=True)


def host(*interfaces: Interface, name: str = "test-host") -> Host:
    """A host that has these addresses."""
    return Host(name=lambda: name, interfaces=lambda: interfaces or (LOOPBACK, ETH0))


def load_values(values: dict[str, Any], tmp_path: Path, *, on: Host | None = None) -> LoadedConfig:
    """Load one JSON file with these keys, on a bound address and with a data folder."""
    path = tmp_path / "f.json"
    path.write_text(
        json.dumps({"bind_addr": "127.0.0.1", "data_dir": str(tmp_path / "data")} | values)
    )
    return load(AgentFlags(paths=[str(path)]), host=on or host())
