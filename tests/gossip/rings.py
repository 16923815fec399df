"""Real members on loopback, for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from gossip import Gossip, GossipConfig, MemberEvent, MemberStatus, UserEventArrived

WAIT_S = 20.0


def quick(name: str, **changes: Any) -> GossipConfig:
    """Local profile, an ephemeral port, and waits as short as loopback allows."""
    settings: dict[str, Any] = {
        "bind_address": "127.0.0.1",
        "bind_port": 0,
        "probe_interval_s": 0.2,
        "probe_timeout_s": 0.1,
        "gossip_interval_s": 0.02,
        "leave_propagate_s": 0.1,
        "tcp_timeout_s": 2.0,
    }
    return GossipConfig.local(name, **{**settings, **changes})


class Watched:
    """A member and the events it told."""

    def __init__(self, config: GossipConfig, **options: Any) -> None:
        self.events: list[MemberEvent] = []
        self.gossip = Gossip(config, on_member=self.events.append, **options)

    @property
    def address(self) -> str:
        member = self.gossip.local_member()
        return f"{member.address}:{member.port}"

    def status(self, name: str) -> MemberStatus | None:
        member = self.gossip.member(name)
        return None if member is None else member.status

    def kinds(self, name: str) -> list[str]:
        return [e.kind.value for e in self.events if e.member.name == name]


def noted(seen: list[tuple[str, bytes]]) -> Callable[[UserEventArrived], None]:
    """Keeps name and payload of the user events that arrive."""
    return lambda event: seen.append((event.name, event.payload))


async def eventually(condition: Callable[[], bool], what: str, wait_s: float = WAIT_S) -> None:
    """Wait for a condition; fail with ``what`` when the deadline passes."""
    try:
        async with asyncio.timeout(wait_s):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not in {wait_s} s: {what}") from None


@contextlib.asynccontextmanager
async def ring(*configs: GossipConfig, join: bool = True) -> AsyncIterator[list[Watched]]:
    """Started members that all know each other; stopped at the end."""
    members = [Watched(config) for config in configs]
    try:
        for member in members:
            await member.gossip.start()
        if join:
            for member in members[1:]:
                result = await member.gossip.join([members[0].address])
                assert result.joined == 1, result.errors
            await eventually(
                lambda: all(
                    m.status(c.name) is MemberStatus.ALIVE for m in members for c in configs
                ),
                "everybody sees everybody",
            )
        yield members
    finally:
        for member in members:
            await member.gossip.stop()
