"""A bare core at an address, and all of its state as one value, for tests."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from typing import Any

from gossip.config import GossipConfig
from gossip.effects import Address, SendPacket
from gossip.errors import DecodeError
from gossip.keyring import Keyring
from gossip.serf import Serf
from gossip.stats import GossipStats
from gossip.wire import messages
from gossip.wire.frames import Framing

HERE = Address(bytes((10, 0, 0, 1)), 7946)
#: After the start; later, a member whose timer has not been heeded would blame itself for a stall.
SOON = 0.1
PEER = Address(bytes((10, 0, 0, 2)), 7946)


@dataclasses.dataclass(slots=True)
class Bare:
    """One member without its shell."""

    framing: Framing
    core: Serf
    stats: GossipStats

    def datagram(self, data: bytes, source: Address, now: float) -> None:
        """What the shell does with a datagram; `gossip.net` is the original."""
        try:
            parts = self.framing.decode_packet(data)
        except DecodeError as error:
            self.stats.drop(error.reason)
            return
        self.core.receive_packet(parts, source, now)

    def refuses(self, data: bytes) -> bool:
        """Whether the envelope, or every message in it, cannot be read."""
        try:
            parts = self.framing.decode_packet(data)
        except DecodeError:
            return True
        for part in parts:
            with contextlib.suppress(DecodeError):
                messages.decode(part)
                return False
        return bool(parts)

    def packets(self) -> list[bytes]:
        """What it wants to send, as bytes; everything else that it wants is forgotten."""
        return [
            self.framing.encode_packet(effect.messages, crc=effect.crc, nonce=bytes(12))
            for effect in self.core.drain()
            if isinstance(effect, SendPacket)
        ]


def bare(name: str = "me", **changes: Any) -> Bare:
    """A started member."""
    config = GossipConfig.lan(name, **changes)
    framing = Framing(config, Keyring(config.keys))
    stats = GossipStats()
    core = Serf(config, rng=random.Random(name), framing=framing, stats=stats)
    core.start(HERE, 0.0)
    core.drain()
    return Bare(framing, core, stats)


def state_of(core: Serf, framing: Framing) -> tuple[object, ...]:
    """All that a message can change: tables, clocks, events, keys, suspicions, our place."""
    return (
        core.local_state(join=False),
        dict(core.tags),
        core.coordinates.local,
        dict(core.coordinates.known),
        framing.keyring.keys,
        core.broadcasts_queued,
        sorted(core.swim.suspicions),
        core.swim.awareness.score,
        {name: entry.status for name, entry in core.roster.entries.items()},
    )
