"""Runs the areas of a client's script one by one and prints a line of JSON for each.

Runs under the client's Python, so it knows nothing of the repository.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Agent:
    """Where the agent is, and the secret to use; "" for none."""

    host: str
    port: int
    token: str

    def put(self, path: str) -> bool:
        """A bare PUT, for what a client does not know; whether it worked."""
        ask = urllib.request.Request(f"http://{self.host}:{self.port}{path}", method="PUT")
        with urllib.request.urlopen(ask, timeout=15) as answer:
            return bool(answer.status == 200)


def eventually(look: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait until ``look`` gives something true. Raises AssertionError when it does not."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {seen!r}"
        time.sleep(0.02)


def main(areas: Iterable[Callable[[Agent], None]]) -> None:
    """Arguments: host, port, token ("" for none)."""
    agent = Agent(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    for area in areas:
        trouble = ""
        try:
            area(agent)
        except Exception:
            trouble = traceback.format_exc()
        print(json.dumps({"area": area.__name__, "trouble": trouble}), flush=True)
