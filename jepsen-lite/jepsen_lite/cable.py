"""The process that carries what hosts of a test say to each other, and its orders.

It takes new rules for the links from its standard input, one JSON object a line, and answers each
with a line, so that a fault has begun when the caller goes on. It ends with its standard input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from jepsen_lite.history import Json
from jepsen_lite.links import Link, as_json

_END_WAIT_S = 10.0


class Cable:
    """A module of ours as such a process, with its arguments and the descriptors it inherits."""

    def __init__(
        self, module: str, arguments: Sequence[object], descriptors: Sequence[int] = ()
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=descriptors,
        )

    def set(self, links: Sequence[tuple[int, int, Link]]) -> None:
        """Change links (source, target); they are changed when this returns."""
        self.order({"links": [[source, target, as_json(link)] for source, target, link in links]})

    def heal(self) -> None:
        """All links are whole."""
        self.order({"clear": True})

    def order(self, rules: dict[str, Json]) -> str:
        """Give an order; returns the answer, "" from a process that has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(rules).encode() + b"\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().decode().strip()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_END_WAIT_S)
        self._process.stdout.close()
