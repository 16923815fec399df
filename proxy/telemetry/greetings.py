"""Handshakes, counted while they go on and by their ends. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

#: How a handshake ends that does not fail; and one that whoever waited for it gave up.
OK, GIVEN_UP = "ok", "given_up"


class Greetings:
    """The handshakes of one direction: how many are under way, and how those before ended."""

    __slots__ = ("ended", "on_success", "open")

    def __init__(self) -> None:
        self.open = 0
        #: By result ("ok" or the word of `failure`), version and whether a session was resumed.
        self.ended: Counter[tuple[str, str, bool]] = Counter()
        #: Hears how many seconds each one took that succeeded.
        self.on_success: Callable[[float], None] = lambda _: None

    def over(self, result: str, version: str, resumed: bool, took_s: float) -> None:
        """One that was under way has ended."""
        self.open -= 1
        self.ended[result, version, resumed] += 1
        if result == OK:
            self.on_success(took_s)
