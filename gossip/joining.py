"""Finding the way into a ring: names to addresses, and an exchange with each of them."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass

from gossip import sockets
from gossip.addresses import pack_ip, parse_join_address
from gossip.effects import Address
from gossip.errors import ConfigError, GossipError
from gossip.exchange import Exchanges

JOINS_AT_ONCE_MAX = 8


@dataclass(frozen=True, slots=True)
class JoinResult:
    """Outcome of a join: how many members answered, and (address, reason) of each failure."""

    joined: int
    errors: tuple[tuple[str, str], ...]


async def join_all(
    addresses: Sequence[str],
    exchanges: Exchanges,
    *,
    own: Address,
    default_port: int,
    family: int,
    entering: bool,
) -> JoinResult:
    """Exchange states with all members behind the addresses; one success is enough to be in.

    Our own address is passed over: meeting ourselves is no way into a ring. ``entering``: we know
    nobody yet, so what the ring was told before is not for us.
    """
    gate = asyncio.Semaphore(JOINS_AT_ONCE_MAX)

    async def one(text: str) -> JoinResult:
        async with gate:
            try:
                targets = await _resolve(text, default_port, family)
            except (ConfigError, OSError, UnicodeError) as error:
                return JoinResult(0, ((text, str(error)),))
            others = [target for target in targets if target != own]
            return await _join(text, others, exchanges, entering=entering)

    results = await asyncio.gather(*(one(text) for text in addresses))
    errors = tuple(error for result in results for error in result.errors)
    return JoinResult(sum(result.joined for result in results), errors)


async def _resolve(text: str, default_port: int, family: int) -> list[Address]:
    """All addresses that a text stands for, each once."""
    host, port = parse_join_address(text, default_port)
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=sockets.STREAM, family=family
    )
    return list(dict.fromkeys(Address(pack_ip(str(e[4][0])), int(e[4][1])) for e in found))


async def _join(
    text: str, targets: list[Address], exchanges: Exchanges, *, entering: bool
) -> JoinResult:
    joined, errors = 0, []
    for target in targets:
        try:
            await exchanges.push_pull(target, join=True, entering=entering)
            joined += 1
        except (OSError, TimeoutError, GossipError) as error:
            errors.append((text, _reason(target, error)))
    return JoinResult(joined, tuple(errors))


def _reason(target: Address, error: Exception) -> str:
    """Why a peer could not be met, in the words that operators of the reference know."""
    ip = str(ipaddress.ip_address(target.ip))
    where = f"[{ip}]:{target.port}" if ":" in ip else f"{ip}:{target.port}"
    if isinstance(error, OSError) and error.errno:
        return f"dial tcp {where}: connect: {os.strerror(error.errno).lower()}"
    return str(error) or f"dial tcp {where}: i/o timeout"
