"""A network of forwarded ports, for machines on which namespaces cannot be made.

Each host listens on a loopback address of its own and tells the others another one, its face. A
process (forwarder.py) listens at the faces and carries on what comes, or does not. Wants Linux
(all of 127.0.0.0/8 is the machine itself; the kernel tells who connects), and no rights.

What differs from real packets: a connection is accepted before its first packet is decided about;
what is lost of a stream comes late, as it does by TCP's repeats; nothing in a stream overtakes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from jepsen_lite.cable import Cable
from jepsen_lite.links import Link
from jepsen_lite.network import NetworkError

#: Hosts are 1 to 99; the face of host 7 ends with 107.
FACE = 100
HOSTS_MAX = FACE - 1


@dataclass(slots=True)
class Forwarding:
    """Hosts 1 to ``size``; what they say to each other goes to these ports."""

    size: int
    ports: Sequence[int]
    seed: int = 0
    number: int = 0
    _cable: Cable | None = None

    def open(self) -> None:
        """Make it. Raises NetworkError."""
        if not 1 <= self.size <= HOSTS_MAX:
            raise NetworkError(f"forwarding is for 1 to {HOSTS_MAX} hosts")
        self.number = os.getpid() % 16_384
        self._cable = Cable(
            "jepsen_lite.forwarder", [self.seed, self.size, self._prefix, *self.ports]
        )
        told = self._cable.order({})
        if told != "done":
            self.close()
            raise NetworkError(f"cannot forward: {told or 'the forwarder ended'}")

    @property
    def _prefix(self) -> str:
        return f"127.{64 + self.number // 256}.{self.number % 256}"

    def address(self, host: int) -> str:
        return f"{self._prefix}.{host}"

    def seen_as(self, host: int) -> str:
        return f"{self._prefix}.{FACE + host}"

    @property
    def tester(self) -> str:
        return "127.0.0.1"

    def inside(self, host: int) -> tuple[str, ...]:
        """Everything runs on this machine as it is."""
        return ()

    def started(self, host: int, process_id: int) -> None:
        assert self._cable is not None
        self._cable.order({"process": [host, process_id]})

    def set(self, links: list[tuple[int, int, Link]]) -> None:
        assert self._cable is not None
        self._cable.set(links)

    def heal(self) -> None:
        assert self._cable is not None
        self._cable.heal()

    def close(self) -> None:
        if self._cable is not None:
            self._cable.close()
            self._cable = None
