"""A network of its own for a cluster: a namespace for each host and one cable that can be broken.

Wants Linux, ``ip`` and the right to make namespaces (root). ``why_not`` says what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field

from jepsen_lite.history import Json
from jepsen_lite.links import Link, as_json

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_TUN = "/dev/net/tun"
#: Large packets: the cable is a Python process, and fewer packets are less work for it.
_MTU = 16_000
_TESTER = 254


class NetworkError(Exception):
    """The network cannot be made; the text says what is missing."""


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
class Network:
    """Hosts 1 to ``size`` in namespaces, and the tester as one more host."""

    size: int
    seed: int = 0
    number: int = 0
    _devices: list[int] = field(default_factory=list)
    _switch: subprocess.Popen[bytes] | None = None

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
        self._switch = subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-m", "jepsen_lite.switch", str(self.seed), *map(str, self._devices)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=self._devices,
        )

    def address(self, host: int) -> str:
        """The address of a host, in the range for tests of networks (RFC 2544, RFC 6890)."""
        return f"198.{18 + self.number % 2}.{self.number // 2 % 256}.{host}"

    def inside(self, host: int) -> tuple[str, ...]:
        """What to put before a command so that it runs on the host."""
        return ("ip", "netns", "exec", self._namespace(host))

    def set(self, links: list[tuple[int, int, Link]]) -> None:
        """Change links (source, target); they are changed when this returns."""
        self._order({"links": [[source, target, as_json(link)] for source, target, link in links]})

    def heal(self) -> None:
        """All links are whole."""
        self._order({"clear": True})

    def close(self) -> None:
        """Take it down."""
        if self._switch is not None:
            assert self._switch.stdin is not None
            assert self._switch.stdout is not None
            self._switch.stdin.close()
            self._switch.wait(10)
            self._switch.stdout.close()
            self._switch = None
        for device in self._devices:
            os.close(device)
        self._devices.clear()
        for host in range(1, self.size + 1):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self._namespace(host))

    def _order(self, rules: dict[str, Json]) -> None:
        assert self._switch is not None
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(json.dumps(rules).encode() + b"\n")
        self._switch.stdin.flush()
        self._switch.stdout.readline()

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
