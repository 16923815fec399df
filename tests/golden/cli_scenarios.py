"""The recorded command line scenarios, less what is not built yet, and their player."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from agent.cli.main import TABLE

FOLDER = Path(__file__).parent / "cli"

#: Scenarios that touch no agent.
ALONE = frozenset(
    "agent-errors help-acl help-agent help-catalog-kv help-mesh keygen tls-ca tls-cert-ca "
    "unknown-command unreachable validate-args validate-bad validate-good version".split()
)

#: Commands of the recordings that do not exist yet: their steps are left out.
LATER: tuple[str, ...] = ()


#: (scenario, number of the step from 1) -> why it is left out.
NOT_YET: dict[tuple[str, int], str] = {
    ("intention-l7", 7): "replacing works on what a config entry wrote: they are one object",
}


def load_player() -> ModuleType:
    """The replay script as a module."""
    spec = importlib.util.spec_from_file_location(
        "cli_replay", Path(__file__).with_name("cli_replay.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(*, alone: bool) -> list[str]:
    """Names of the scenarios that need no agent, or of those that need one."""
    return sorted(p.stem for p in FOLDER.glob("*.json") if (p.stem in ALONE) is alone)


def scenario(name: str) -> dict[str, Any]:
    """A scenario with the steps that can pass today."""
    read: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    read["steps"] = [
        step
        for number, step in enumerate(read["steps"], 1)
        if (name, number) not in NOT_YET and not is_later(step.get("argv", []))
    ]
    return read


def is_later(argv: list[str]) -> bool:
    """Whether these words call a command that does not exist yet."""
    words = " ".join(argv) + " "
    return any(words.startswith(f"{command} ") for command in LATER)


def built() -> set[str]:
    """Names of all commands that exist."""
    return {" ".join(path) for path in TABLE}
