"""The recorded bytes of the reference agent, for tests."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

PATH = pathlib.Path(__file__).parent.parent / "golden" / "gossip" / "vectors.json"


@functools.cache
def load() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(PATH.read_text())
    return document


def keys() -> dict[str, bytes]:
    return {name: bytes.fromhex(key) for name, key in load()["keys"].items()}
