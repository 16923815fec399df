"""Packets that do not leave this host, and why."""

from __future__ import annotations

import asyncio
import errno

import pytest

from gossip import GossipConfig
from gossip.effects import Address, SendPacket
from gossip.keyring import Keyring
from gossip.sockets import Datagrams, Sender
from gossip.stats import GossipStats
from gossip.wire.frames import Framing
from tests.gossip.cores import PEER

PACKET = SendPacket(PEER, (b"\x0b\x81\xa5SeqNo\x01",))


class Cut(asyncio.DatagramTransport):
    """A transport whose sends fail as those of a host without a network, or with another error."""

    def __init__(self, number: int, sender: Sender, *, raises: bool) -> None:
        super().__init__()
        self._error = OSError(number, "") if number else None
        self._protocol = Datagrams(lambda data, source: None, sender.failed)
        self._raises = raises

    def is_closing(self) -> bool:
        return False

    def sendto(self, data: object, addr: object = None) -> None:
        if self._error is None:
            return
        if self._raises:
            raise self._error
        self._protocol.error_received(self._error)


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize(
    ("number", "left"),
    [(0, True), (errno.ENETUNREACH, False), (errno.ENOBUFS, False), (errno.EPERM, True)],
)
def test_only_what_is_this_hosts_fault_excuses_the_target(
    number: int, left: bool, raises: bool
) -> None:
    stats = GossipStats()
    framing = Framing(GossipConfig(name="me"), Keyring(()))
    sender = Sender(framing, stats)
    assert sender.send(PACKET, Cut(number, sender, raises=raises)) is left
    assert stats.packet_send_errors == (1 if number else 0)
    assert stats.packets_sent == (0 if number else 1)
    assert sender.send(PACKET, Cut(0, sender, raises=raises)), "the next one is judged anew"


def test_an_address_that_is_none_is_a_fault_of_who_told_it() -> None:
    stats = GossipStats()
    sender = Sender(Framing(GossipConfig(name="me"), Keyring(())), stats)
    nowhere = SendPacket(Address(b"abc", 1), PACKET.messages)
    assert sender.send(nowhere, Cut(0, sender, raises=True))
    assert stats.packet_send_errors == 1
