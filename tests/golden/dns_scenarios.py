"""The recorded DNS scenarios, less what is not served yet, and the player that came with them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parent / "dns"

#: Scenarios that cannot pass yet, with the reason.
NOT_YET: dict[str, str] = {}

#: Odd answers of the reference that we give as well; the others are left out on purpose.
QUIRKS_KEPT = {
    "EDNS version is not looked at",
    "a CNAME answers every type",
    "a loop repeats the CNAME",
    "addr names answer every type with their address record",
    "class is not looked at",
    "labels after addr are not checked",
    "opcode NOTIFY is served like a query",
    "types a node cannot have give NOERROR without SOA, even if there is no such node",
    "unknown reverse name without recursors is SERVFAIL",
    "wrong length of hex gives an empty NOERROR",
}


def load_player() -> ModuleType:
    """The replay script as a module."""
    path = Path(__file__).with_name("dns_replay.py")
    spec = importlib.util.spec_from_file_location("dns_replay", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names() -> list[str]:
    """Names of all scenarios."""
    return sorted(
        path.stem for path in FOLDER.glob("*.json") if not path.name.startswith("config-")
    )


def scenario(name: str) -> dict[str, Any]:
    """A scenario with the questions that are answered today."""
    read: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    read["steps"] = [step for step in read["steps"] if "dns" not in step or _served(step["dns"])]
    return read


#: Where the recordings expect the player's stand-ins for recursors.
RECORDED_HOST = "127.0.0.1:"


def config(name: str, host: str = "") -> dict[str, Any]:
    """The configuration of a group of scenarios, without what is meant for the player.

    Recursors are looked for on ``host``, so that runs side by side have their own.
    """
    read: dict[str, Any] = json.loads((FOLDER / f"config-{name}.json").read_text())
    read.pop("_replay", None)
    if host and "recursors" in read:
        read["recursors"] = [_moved(text, host) for text in read["recursors"]]
    return read


def headers(name: str) -> dict[str, str] | None:
    """What the player sends with each request over HTTP."""
    read = json.loads((FOLDER / f"config-{name}.json").read_text())
    found: dict[str, str] | None = read.get("_replay", {}).get("headers")
    return found


def upstreams(name: str, host: str) -> dict[str, Any]:
    """What the recursors of a group answer, by their address."""
    read = json.loads((FOLDER / f"config-{name}.json").read_text())
    zones = read.get("_replay", {}).get("upstreams", {})
    return {_moved(address, host): zone for address, zone in zones.items()}


def _moved(address: str, host: str) -> str:
    assert address.startswith(RECORDED_HOST)
    return f"{host}:{address[len(RECORDED_HOST) :]}"


def _served(query: dict[str, Any]) -> bool:
    return "quirk" not in query or query["quirk"] in QUIRKS_KEPT
