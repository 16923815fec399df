"""The one cable of a test network: a process that carries IP packets between hosts.

Each host is a network namespace whose only interface is a TUN device; this process holds the other
ends. It is started with the descriptors of the devices as arguments (host 1, host 2, …, the
tester) and takes new rules for its links from standard input, one JSON object a line:
``{"clear": true, "links": [[source, target, {"cut": true}], …]}``. It answers each with a line, so
that a fault has begun when the caller goes on. It ends with its standard input.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import random
import select
import sys
import time

from jepsen_lite.links import Links

PACKET_MAX = 65_536
#: Packets that wait for their time; beyond it they are lost, as in a full queue.
WAITING_MAX = 20_000
_TURN_S = 0.5


class _Switch:
    def __init__(self, devices: list[int], seed: int) -> None:
        self._devices = devices
        self._links = Links(random.Random(seed))
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._numbers = itertools.count()
        self._rules = b""

    def run(self) -> None:
        poll = select.poll()
        for device in self._devices:
            os.set_blocking(device, False)
            poll.register(device, select.POLLIN)
        poll.register(0, select.POLLIN | select.POLLHUP)
        hosts = {device: number for number, device in enumerate(self._devices, start=1)}
        while True:
            pause_s = _TURN_S
            if self._waiting:
                pause_s = max(0.0, self._waiting[0][0] - time.monotonic())
            for descriptor, _ in poll.poll(pause_s * 1000):
                if descriptor == 0:
                    if not self._take_rules():
                        return
                else:
                    self._take_packets(descriptor, hosts[descriptor])
            self._deliver()

    def _take_packets(self, device: int, source: int) -> None:
        for _ in range(64):
            try:
                packet = os.read(device, PACKET_MAX)
            except OSError:
                return
            if len(packet) < 20 or packet[0] >> 4 != 4:
                continue  # IPv6 chatter of the kernel
            host = packet[19]
            target = host if host < len(self._devices) else len(self._devices)
            now = time.monotonic()
            at = self._links.deliver_at(now, source, target, len(packet))
            if at is None:
                continue
            if at <= now:
                self._write(target, packet)
            elif len(self._waiting) < WAITING_MAX:
                heapq.heappush(self._waiting, (at, next(self._numbers), target, packet))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, target, packet = heapq.heappop(self._waiting)
            self._write(target, packet)

    def _write(self, target: int, packet: bytes) -> None:
        try:
            os.write(self._devices[target - 1], packet)
        except OSError:
            return  # the host is gone or its queue is full: the packet is lost, as on any cable

    def _take_rules(self) -> bool:
        chunk = os.read(0, PACKET_MAX)
        if not chunk:
            return False
        *lines, self._rules = (self._rules + chunk).split(b"\n")
        for line in lines:
            self._links.obey(json.loads(line))
            os.write(1, b"done\n")
        return True


if __name__ == "__main__":
    _Switch([int(number) for number in sys.argv[2:]], int(sys.argv[1])).run()
