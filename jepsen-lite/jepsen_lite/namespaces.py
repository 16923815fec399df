"""Network namespaces: one for each host, and one cable between them that can be broken.

Wants Linux, ``ip`` and the right to make namespaces (root). ``why_not`` says what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass, field

from jepsen_lite.cable import Cable
from jepsen_lite.links import Link
from jepsen_lite.network import NetworkError

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_TUN = "/dev/net/tun"
#: Large packets: the cable is a Python process, and fewer packets are less work for it.
_MTU = 16_000
_TESTER = 254


def why_not() -> str:
    """Why no network can be made here, "" if one can."""
    if shutil.which("ip") is None:
        return "the program ip (iproute2) is missing"
    if not os.path.exists(_TUN):
        return f"{_TUN} is missing"
    if os.geteuid() != 0:
        return "making network namespaces wants root"
    return ""


@dataclass(slots=True)
class Namespaces:
    """Hosts 1 to ``size`` in namespaces, and the tester as one more host."""

    size: int
    seed: int = 0
    number: int = 0
    _devices: list[int] = field(default_factory=list)
    _cable: Cable | None = None

    def open(self) -> None:
        """Make it. Raises NetworkError."""
        reason = why_not()
        if reason:
            raise NetworkError(reason)
        self.number = os.getpid() % 65_536
        try:
            for host in [*range(1, self.size + 1), _TESTER]:
                self._devices.append(self._device(host))
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise NetworkError(f"cannot make the network: {error}") from error
        self._cable = Cable(
            "jepsen_lite.switch", [self.seed, *self._devices], descriptors=self._devices
        )

    def address(self, host: int) -> str:
        """The address of a host, in the range for tests of networks (RFC 2544, RFC 6890)."""
        return f"198.{18 + self.number % 2}.{self.number // 2 % 256}.{host}"

    def seen_as(self, host: int) -> str:
        return self.address(host)

    def inside(self, host: int) -> tuple[str, ...]:
        """What to put before a command so that it runs on the host."""
        return ("ip", "netns", "exec", self._namespace(host))

    def started(self, host: int, process_id: int) -> None:
        """A host is known by its address, whatever runs on it."""

    @property
    def tester(self) -> str:
        """The tester's address as the hosts reach it."""
        return self.address(_TESTER)

    def set(self, links: list[tuple[int, int, Link]]) -> None:
        assert self._cable is not None
        self._cable.set(links)

    def heal(self) -> None:
        assert self._cable is not None
        self._cable.heal()

    def close(self) -> None:
        """Take it down."""
        if self._cable is not None:
            self._cable.close()
            self._cable = None
        for device in self._devices:
            os.close(device)
        self._devices.clear()
        for host in range(1, self.size + 1):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self._namespace(host))

    def _namespace(self, host: int) -> str:
        return f"jl{self.number}-{host}"

    def _device(self, host: int) -> int:
        """A TUN device inside the host; returns the descriptor of its other end."""
        name = f"jl{self.number}h{host}"
        device = os.open(_TUN, os.O_RDWR)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
        inside: tuple[str, ...] = ()
        if host != _TESTER:
            space = self._namespace(host)
            _ip("netns", "add", space)
            _ip("link", "set", name, "netns", space)
            inside = ("-n", space)
            _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "addr", "add", f"{self.address(host)}/24", "dev", name)
        _ip(*inside, "link", "set", name, "mtu", str(_MTU), "up")
        return device


def _ip(*words: str) -> None:
    subprocess.run(  # noqa: S603
        ["ip", *words],  # noqa: S607
        check=True,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
