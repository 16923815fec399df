"""Asks the recursors: one socket, one port and one id per try (DNS contract 5 and 11).

A shell: ``recursion`` decides whom to ask and which reply counts. A UDP socket that is connected
takes packets of the asked address only, and the kernel draws its port at random; the id comes from
the operating system's random numbers, so that nobody can guess a reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dns.rdatatype import RdataType

from agent.config.schema import AgentConfig
from agent.dns.recursion import (
    Judged,
    Loops,
    Recursor,
    Subject,
    Verdict,
    judge,
    others,
    parse_recursor,
    with_id,
)
from agent.dns.sizes import PLAIN_UDP_BYTES
from agent.dns.wire import HEADER_BYTES, Question, Record, read_question

log = logging.getLogger("lictor.agent.dns.upstream")

_TCP_BYTES_MAX = 65535
_RD = 0x0100


@dataclass(slots=True)
class UpstreamStats:
    """Counters since the start; ``waiting`` is a level. ``ignored`` packets were no reply to what
    was asked, ``outsiders`` were refused, ``loops`` were proved."""

    asked: int = 0
    answered: int = 0
    failed_tries: int = 0
    all_failed: int = 0
    ignored: int = 0
    outsiders: int = 0
    loops: int = 0
    over_limit: int = 0
    waiting: int = 0


class Upstream:
    """The recursors of this agent."""

    def __init__(
        self,
        recursors: Sequence[Recursor],
        *,
        timeout_s: float,
        shuffled: bool,
        waiting_max: int,
        stats: UpstreamStats,
    ) -> None:
        """``timeout_s`` is for each try; ``shuffled`` draws an order for each question."""
        self.recursors = tuple(recursors)
        self._timeout_s = timeout_s
        self._shuffled = shuffled
        self._waiting_max = waiting_max
        self._rng = random.SystemRandom()
        self.loops = Loops()
        self.stats = stats

    def note_arrival(self, question: Question, client: str) -> bool:
        """Whether an arriving question is proof of a loop; then it must not be passed on."""
        now = time.monotonic()
        looping = self.loops.met(question.labels, now)
        if looping is not None:
            self.stats.loops += 1
            log.error("a recursor sends our questions back to us, left out recursor=%s", looping)
            return True
        return False

    async def relay(
        self, data: bytes, question: Question, *, tcp: bool, client: str
    ) -> bytes | None:
        """The first final reply, under the client's id; None when all recursors fail."""
        subject = (question.labels, question.qtype)
        if self.loops.is_suspicious(subject, client):
            await self._probe(question, client)
        found = await self._ask(data, question, tcp=tcp)
        return None if found is None else data[:2] + found[0][2:]

    async def look_up(self, name: bytes) -> tuple[Record, ...]:
        """The answer section for an address question about ``name`` in wire form; () on failure.

        Other than for clients, a refusal is an answer: it says that there is nothing.
        """
        packet = _address_question(name)
        question = read_question(packet)
        assert isinstance(question, Question)
        found = await self._ask(packet, question, tcp=False, any_rcode=True)
        return () if found is None or found[1].reply is None else found[1].reply.answers

    async def _ask(
        self, data: bytes, question: Question, *, tcp: bool, any_rcode: bool = False
    ) -> tuple[bytes, Judged] | None:
        stats = self.stats
        if stats.waiting >= self._waiting_max:
            stats.over_limit += 1
            return None
        stats.asked += 1
        stats.waiting += 1
        try:
            for recursor in self._order():
                found = await self._try(recursor, data, question, tcp)
                if found is not None:
                    is_final = found[1].verdict is Verdict.FINAL
                    if is_final or (any_rcode and found[1].reply is not None):
                        stats.answered += 1
                        return found
                stats.failed_tries += 1
        finally:
            stats.waiting -= 1
        stats.all_failed += 1
        return None

    def _order(self) -> list[Recursor]:
        usable = self.loops.usable(self.recursors, time.monotonic())
        if self._shuffled:
            self._rng.shuffle(usable)
        return usable

    async def _try(
        self, recursor: Recursor, data: bytes, question: Question, tcp: bool
    ) -> tuple[bytes, Judged] | None:
        """What one recursor said; None if it said nothing in time."""
        subject: Subject = (question.labels, question.qtype)
        number = self._rng.getrandbits(16)
        self.loops.begin(subject, recursor)
        try:
            async with asyncio.timeout(self._timeout_s):
                exchange = self._over_tcp if tcp else self._over_udp
                return await exchange(recursor, with_id(data, number), question, number)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.debug("a recursor failed recursor=%s reason=%s", recursor, error or "timeout")
            return None
        finally:
            self.loops.end(subject, recursor)

    async def _over_udp(
        self, recursor: Recursor, packet: bytes, question: Question, number: int
    ) -> tuple[bytes, Judged]:
        loop = asyncio.get_running_loop()
        allowed = question.edns.payload_bytes if question.edns else PLAIN_UDP_BYTES
        inbox: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=16)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Inbox(inbox), remote_addr=(recursor.host, recursor.port)
        )
        try:
            transport.sendto(packet)
            while True:
                data = await inbox.get()
                if isinstance(data, Exception):
                    raise data
                judged = judge(question, number, data, bytes_max=max(PLAIN_UDP_BYTES, allowed))
                if judged.verdict is not Verdict.IGNORE:
                    return data, judged
                self.stats.ignored += 1
        finally:
            transport.close()

    async def _over_tcp(
        self, recursor: Recursor, packet: bytes, question: Question, number: int
    ) -> tuple[bytes, Judged]:
        reader, writer = await asyncio.open_connection(recursor.host, recursor.port)
        try:
            writer.write(len(packet).to_bytes(2, "big") + packet)
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                data = await reader.readexactly(length)
                judged = judge(question, number, data, bytes_max=_TCP_BYTES_MAX)
                if judged.verdict is not Verdict.IGNORE:
                    return data, judged
                self.stats.ignored += 1
        finally:
            writer.transport.abort()

    async def _probe(self, question: Question, client: str) -> None:
        """Ask suspects for a name of ours; whether it comes back is seen by ``note_arrival``."""
        now = time.monotonic()
        loop = asyncio.get_running_loop()
        probes = self.loops.probe(question.name, self.recursors, client, now, self._rng)
        for recursor, name in probes:
            with contextlib.suppress(OSError):
                transport, _ = await loop.create_datagram_endpoint(
                    asyncio.DatagramProtocol, remote_addr=(recursor.host, recursor.port)
                )
                transport.sendto(with_id(_address_question(name), self._rng.getrandbits(16)))
                transport.close()


def _address_question(name: bytes) -> bytes:
    header = b"\0\0" + _RD.to_bytes(2, "big") + b"\0\1" + b"\0" * 6
    assert len(header) == HEADER_BYTES
    return header + name + int(RdataType.A).to_bytes(2, "big") + b"\0\1"


class _Inbox(asyncio.DatagramProtocol):
    """Hands packets and errors of one socket to who waits; what is too much is dropped."""

    __slots__ = ("_inbox",)

    def __init__(self, inbox: asyncio.Queue[bytes | Exception]) -> None:
        self._inbox = inbox

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._put(data)

    def error_received(self, exc: Exception) -> None:
        self._put(exc)

    def _put(self, item: bytes | Exception) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._inbox.put_nowait(item)


def upstream_of(config: AgentConfig, stats: UpstreamStats) -> Upstream:
    """The recursors that a configuration names, without this agent itself."""
    own = [(host, config.port_dns) for host in config.dns_addrs]
    kept, ours = others([parse_recursor(text) for text in config.dns.recursors], own)
    for recursor in ours:
        log.warning("a recursor is this agent itself, left out recursor=%s", recursor)
    return Upstream(
        kept,
        timeout_s=config.dns.recursor_timeout_s,
        shuffled=config.dns.recursor_strategy == "random",
        waiting_max=config.limits.dns_recursions_max,
        stats=stats,
    )
