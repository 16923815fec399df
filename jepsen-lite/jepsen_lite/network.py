"""A network of its own for the nodes of a test: what it must do, and which kinds there are."""

from __future__ import annotations

from typing import Protocol

from jepsen_lite.links import Link


class NetworkError(Exception):
    """The network cannot be made; the text says what is missing."""


class Network(Protocol):
    """Hosts 1, 2, … and the tester, who reaches all of them whatever is broken between them."""

    def open(self) -> None:
        """Make it. Raises NetworkError."""
        ...

    def address(self, host: int) -> str:
        """Where what runs on a host listens, and where the tester reaches it."""
        ...

    def seen_as(self, host: int) -> str:
        """Where the other hosts reach it: what it must tell them of itself."""
        ...

    @property
    def tester(self) -> str:
        """Where hosts reach what the tester runs."""
        ...

    def inside(self, host: int) -> tuple[str, ...]:
        """What to put before a command so that it runs on the host."""
        ...

    def started(self, host: int, process_id: int) -> None:
        """What runs on a host from now on."""
        ...

    def set(self, links: list[tuple[int, int, Link]]) -> None:
        """Change links (source, target); they are changed when this returns."""
        ...

    def heal(self) -> None:
        """All links are whole."""
        ...

    def close(self) -> None:
        """Take it down."""
        ...
