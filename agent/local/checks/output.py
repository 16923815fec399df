"""How much of a check's output is kept, and which end of it (agent contract 1.3)."""

from __future__ import annotations


class Tail:
    """The last ``limit`` bytes of what is written to it, and how many there were."""

    __slots__ = ("_kept", "_limit", "total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.total = 0

    def write(self, data: bytes) -> None:
        """Append; what falls out at the front is gone."""
        self.total += len(data)
        self._kept += data[-self._limit :]
        if len(self._kept) > self._limit:
            del self._kept[: len(self._kept) - self._limit]

    def text(self) -> str:
        """What is kept, as text."""
        return self._kept.decode("utf-8", "replace")

    def noted(self) -> str:
        """As ``text``, with the head note of scripts when something was lost."""
        if self.total <= self._limit:
            return self.text()
        return f"Captured {self._limit} of {self.total} bytes\n...\n{self.text()}"


def head(text: str, limit: int) -> str:
    """The first ``limit`` bytes of a TTL check's note, and how much was cut."""
    if len(text) <= limit and text.isascii():
        return text
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    kept = raw[:limit].decode("utf-8", "ignore")
    return f"{kept} ... (captured {limit} of {len(raw)} bytes)"


def limit_of(check_max: int, agent_max: int) -> int:
    """The limit of one check: its own or the agent's, whichever is smaller."""
    return min(check_max, agent_max) if check_max > 0 else agent_max
