"""Gossip: the sockets, the one timer and the effect loop around the Serf core.

Decides nothing of the protocol: datagrams and streams go in, effects are carried out in order, and
the timer asks the core when it wants to be called. Everything runs on one event loop.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from gossip import explain as explanations
from gossip import sockets
from gossip.addresses import pack_ip, socket_address
from gossip.asking import Question
from gossip.config import GossipConfig
from gossip.coordinates import Coordinate
from gossip.effects import (
    Address,
    Effect,
    ExchangeState,
    LeaveFinished,
    MemberChanged,
    NameConflict,
    NameLost,
    Noted,
    PingStream,
    Quarantined,
    QueryArrived,
    QueryEnded,
    QueryReplied,
    Refused,
    SaveKeys,
    SendPacket,
    UserEventArrived,
)
from gossip.errors import DecodeError, GossipError, QueryError
from gossip.exchange import Exchanges
from gossip.explain import MemberExplanation
from gossip.joining import JoinResult, join_all
from gossip.keyring import Keyring
from gossip.query_streams import Answers, QueryHandler, QueryStreams
from gossip.rejoin_file import RejoinFile
from gossip.ring_keys import RingKeys
from gossip.roster import Member, MemberEvent, MemberStatus
from gossip.serf import Serf
from gossip.stats import GossipStats
from gossip.wire.frames import Framing
from gossip.wire.messages import PushPull, State

log = logging.getLogger("lictor.gossip.net")

OUTGOING_STREAMS_MAX = 64
CONFLICT_LOG_INTERVAL_S = 10.0
#: A table is taken in for so long at a time, in seconds.
MERGE_SLICE_S = 0.002


class Gossip:
    """One member of a ring, on the network."""

    def __init__(
        self,
        config: GossipConfig,
        *,
        on_member: Callable[[MemberEvent], None],
        rng: random.Random | None = None,
        on_user_event: Callable[[UserEventArrived], None] | None = None,
        on_name_lost: Callable[[str], None] | None = None,
        on_query: QueryHandler | None = None,
    ) -> None:
        self._config = config
        self._on_member = on_member
        self._on_user_event = on_user_event
        self._on_name_lost = on_name_lost
        self._rng = rng or random.Random()
        self._stats = GossipStats()
        self._framing = Framing(config, Keyring(config.keys))
        self._core = Serf(config, rng=self._rng, framing=self._framing, stats=self._stats)
        self._exchanges = Exchanges(
            self._framing,
            self._stats,
            local_name=config.name,
            local_state=lambda join: self._core.local_state(join=join),
            merge=self._merge,
            user=self._stream_user,
        )
        self._queries = QueryStreams(
            self._core,
            config,
            now=self._now,
            settle=self._carry_out,
            spawn=self._spawn,
            handler=on_query,
        )
        self.ring_keys = RingKeys(config, ask=self.query, members=self.members)
        self._sender = sockets.Sender(self._framing, self._stats)
        self._udp: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()
        self._running = False
        self._memory: RejoinFile | None = None
        if config.rejoin_path:
            self._memory = RejoinFile(
                config.rejoin_path,
                own_name=config.name,
                after_leave=config.rejoin_after_leave,
                clocks=lambda: self._core.clocks,
                spawn=self._spawn,
            )
        self._conflict_logged_at = float("-inf")
        self._epoch_offset_s = 0.0
        self._address = Address(b"", 0)

    # Public API

    async def start(self) -> None:
        """Bind UDP and TCP on one port and come to life. Raises OSError when the port is taken."""
        assert not self._running, "start twice"
        loop = asyncio.get_running_loop()
        self._epoch_offset_s = time.time() - loop.time()
        if self._memory is not None:
            self._core.resume((await self._memory.load()).clocks)
        tcp, udp = sockets.bind_pair(self._config.bind_address, self._config.bind_port)
        port = tcp.getsockname()[1]
        advertised = sockets.advertised_address(self._config)
        self._address = Address(pack_ip(advertised), self._config.advertise_port or port)
        try:
            self._udp, _ = await loop.create_datagram_endpoint(
                lambda: sockets.Datagrams(self._datagram, self._sender.failed), sock=udp
            )
            self._server = await asyncio.start_server(self._exchanges.serve, sock=tcp)
        except BaseException:
            if self._udp is not None:
                self._udp.close()
            udp.close()
            tcp.close()
            raise
        self._running = True
        self._core.start(self._address, loop.time())
        log.info(
            "gossip started node=%s address=%s port=%d encrypted=%s",
            self._config.name,
            advertised,
            self._address.port,
            bool(self._framing.keyring),
        )
        peers = list(self._memory.peers.values()) if self._memory is not None else []
        self._carry_out()
        if peers:
            self._spawn(self._rejoin(peers), "gossip-rejoin")

    async def join(self, addresses: Sequence[str]) -> JoinResult:
        """Exchange states with each address; one success is enough to be in the ring."""
        result = await join_all(
            addresses,
            self._exchanges,
            own=self._address,
            default_port=self._config.bind_port or self._address.port,
            family=sockets.family_of(self._config.bind_address),
            entering=not self._core.swim.has_live_peers,
        )
        self._stats.stream_errors += len(result.errors)
        if result.joined and self._running:
            self._core.joined(self._now())
            self._carry_out()
        return result

    async def leave(self) -> None:
        """Leave gracefully: peers show us as left, not failed. Ends stopped, within about 11 s."""
        if not self._running:
            return
        self._core.leave(self._now())
        self._carry_out()
        config = self._config
        # The core has its own deadlines; this one only guards against a defect in them.
        bound_s = 2 * config.broadcast_timeout_s + config.leave_propagate_s + 1.0
        try:
            async with asyncio.timeout(bound_s):
                await self._left.wait()
        except TimeoutError:
            log.warning("leave did not finish node=%s", config.name)
        if self._memory is not None:
            await self._memory.forget()
        await self.stop()

    async def stop(self) -> None:
        """Close everything at once, without a word to the ring."""
        if not self._running:
            return
        self._running = False
        self._queries.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._memory is not None:
            await self._memory.close()
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._exchanges.close()
        if self._udp is not None:
            self._udp.close()
        log.info("gossip stopped node=%s", self._config.name)

    def members(self) -> tuple[Member, ...]:
        """Serf's view: the alive, the leaving, the left and the failed, ourselves included."""
        roster = self._core.roster
        return tuple(member for name in roster.entries if (member := roster.member(name)))

    def member(self, name: str) -> Member | None:
        """One member of Serf's view."""
        return self._core.roster.member(name)

    def local_member(self) -> Member:
        """Ourselves, with the port that was really bound."""
        member = self._core.roster.member(self._config.name)
        assert member is not None, "local_member before start"
        return member

    async def set_tags(self, tags: Mapping[str, str]) -> None:
        """Replace our tags. Raises ConfigError when they are too long together."""
        self._core.set_tags(tags, self._now())
        self._carry_out()

    def force_leave(self, name: str, *, prune: bool = False) -> bool:
        """Turn a failed member into one that left; False when there is no such member."""
        done = self._core.force_leave(name, prune=prune, now=self._now())
        self._carry_out()
        return done

    def user_event(self, name: str, payload: bytes, *, coalesce: bool = False) -> None:
        """Tell every member, ourselves included. Raises UserEventTooLong."""
        self._core.user_event(name, payload, coalesce=coalesce, now=self._now())
        self._carry_out()

    def query(self, question: Question) -> Answers:
        """Ask the ring; the answers come as a stream. Raises QueryError when it cannot be sent."""
        if not self._running:
            raise QueryError("this member is not running")
        return self._queries.ask(question)

    def stats(self) -> GossipStats:
        """Counters so far, with the present state filled in; a copy."""
        core = self._core
        clocks = core.clocks
        return dataclasses.replace(
            self._stats,
            member_ltime=clocks.member,
            event_ltime=clocks.event,
            query_ltime=clocks.query,
            coordinate_resets=core.coordinates.resets,
            claims_held=len(core.swim.claims.held),
            dropped=dict(self._stats.dropped),
            health_score=core.swim.awareness.score,
            members_alive=core.roster.count(MemberStatus.ALIVE),
            members_failed=core.roster.count(MemberStatus.FAILED),
            members_left=core.roster.count(MemberStatus.LEFT),
            suspects=len(core.swim.suspicions),
            accusers_held=core.swim.claims.accusers.count_quarantined(self._now()),
            broadcasts_queued=core.broadcasts_queued,
            broadcasts_dropped=core.broadcasts_dropped,
            keys=len(self._framing.keyring.keys),
        )

    def coordinate(self, name: str = "") -> Coordinate | None:
        """Where we are in the network, or a member that we have measured; None if not known."""
        if not self._config.coordinates:
            return None
        client = self._core.coordinates
        return client.known.get(name) if name else client.local

    def measured(self) -> tuple[str, ...]:
        """The members whose coordinates we know, by name."""
        return tuple(sorted(self._core.coordinates.known))

    def coordinate_resets(self) -> int:
        """How often our coordinate had to begin again at the origin."""
        return self._core.coordinates.resets

    def explain(self, name: str) -> MemberExplanation | None:
        """Why the member has its state; None when there is no such member."""
        return explanations.explain(
            self._core, name, now=self._now(), epoch_offset_s=self._epoch_offset_s
        )

    # Inputs

    def _datagram(self, data: bytes, source: tuple[Any, ...]) -> None:
        stats = self._stats
        stats.packets_received += 1
        stats.packet_bytes_received += len(data)
        try:
            parts = self._framing.decode_packet(data)
            address = Address(pack_ip(source[0]), source[1])
        except DecodeError as error:
            stats.drop(error.reason)
            return
        except ValueError:
            stats.drop("bad_address")
            return
        self._core.receive_packet(parts, address, self._now())
        self._carry_out()

    async def _merge(self, remote: PushPull, entering: bool) -> None:
        """Others get their turn in between. May raise GossipError: then nothing was taken in."""
        until = self._now() + MERGE_SLICE_S
        portions = self._core.portions(remote, entering=entering) if self._running else []
        for portion in portions:
            self._core.take(portion, self._now())
            self._carry_out()
            if self._now() > until:
                await asyncio.sleep(0)
                if not self._running:
                    return
                until = self._now() + MERGE_SLICE_S

    def _stream_user(self, payload: bytes) -> None:
        if self._running:
            self._core.receive_user(payload, self._now())
            self._carry_out()

    def _wake(self) -> None:
        self._timer = None
        self._core.tick(self._now())
        self._carry_out()

    # Effects

    def _carry_out(self) -> None:
        """Do what the core asks for, then set the timer for its next deadline."""
        while effects := self._core.drain():
            for effect in effects:
                self._effect(effect)
        if not self._running:
            return
        if self._memory is not None:
            self._memory.look()
        deadline = self._core.deadline
        if self._timer is None or deadline < self._timer_at:
            # A timer that fires too early only asks again: cheaper than moving it every time.
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = asyncio.get_running_loop().call_at(deadline, self._wake)

    def _effect(self, effect: Effect) -> None:
        match effect:
            case SendPacket():
                if not self._sender.send(effect, self._udp):
                    self._core.unsent(effect.to)
            case MemberChanged(event):
                self._member_changed(event)
            case Noted(name, state, incarnation, cause):
                level = logging.DEBUG if state is State.ALIVE else logging.INFO
                log.log(
                    level,
                    "member state node=%s state=%s incarnation=%d cause=%s",
                    name,
                    state.name.lower(),
                    incarnation,
                    cause,
                )
            case ExchangeState():
                self._spawn_stream(self._exchange(effect), "gossip-push-pull")
            case PingStream():
                self._spawn_stream(self._ping_stream(effect), "gossip-tcp-ping")
            case UserEventArrived():
                if self._on_user_event is not None:
                    self._guarded(self._on_user_event, effect)
            case QueryArrived() | QueryReplied() | QueryEnded() | SaveKeys():
                self._queries.carry_out(effect)
            case LeaveFinished():
                self._left.set()
            case NameConflict():
                self._log_conflict(effect)
            case Quarantined(accuser, subjects):
                log.warning("accuser not believed node=%s wrong_about=%s", accuser, subjects)
            case Refused(name, reason):
                log.warning("member not let in node=%s reason=%s", name, reason)
            case NameLost(name):
                log.error("name lost to another member, stopping node=%s", name)
                if self._on_name_lost is not None:
                    self._guarded(self._on_name_lost, name)
                self._spawn(self._stop_later(), "gossip-name-lost")

    def _member_changed(self, event: MemberEvent) -> None:
        member = event.member
        log.info(
            "member %s node=%s address=%s port=%d",
            event.kind.value,
            member.name,
            member.address,
            member.port,
        )
        self._guarded(self._on_member, event)
        if self._memory is not None:
            self._memory.member_changed(event)

    def _guarded(self, callback: Callable[..., None], *arguments: Any) -> None:
        """The application's mistakes must not stop the ring."""
        try:
            callback(*arguments)
        except Exception:
            log.exception("callback failed")

    def _log_conflict(self, effect: NameConflict) -> None:
        now = self._now()
        if now - self._conflict_logged_at < CONFLICT_LOG_INTERVAL_S:
            return
        self._conflict_logged_at = now
        holder = self.member(effect.name)
        log.warning(  # in serf's words, for which operators look
            "Name conflict for '%s' both %s and %s are claiming own=%s",
            effect.name,
            "nobody" if holder is None else f"{holder.address}:{holder.port}",
            ":".join(map(str, socket_address(effect.address) or ("?",))),
            effect.own,
        )

    # Tasks

    async def _exchange(self, effect: ExchangeState) -> None:
        try:
            await self._exchanges.push_pull(effect.to, join=effect.join)
        except (OSError, TimeoutError, GossipError) as error:
            self._stats.stream_errors += 1
            log.debug(
                "push/pull failed node=%s error=%s", effect.name, error or type(error).__name__
            )

    async def _ping_stream(self, effect: PingStream) -> None:
        wait_s = max(0.0, effect.deadline - self._now())
        answered = await self._exchanges.ping(effect.to, effect.seq_no, effect.message, wait_s)
        if answered:
            log.warning("member answers TCP but not UDP address=%s", socket_address(effect.to))
        if self._running:
            self._core.tcp_ping_finished(effect.seq_no, answered, self._now())
            self._carry_out()

    async def _rejoin(self, peers: list[str]) -> None:
        """Try the peers of the last run in random order until one answers."""
        self._rng.shuffle(peers)
        for peer in peers:
            result = await self.join([peer])
            if result.joined:
                log.info("rejoined peer=%s", peer)
                return

    async def _stop_later(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.discard(task)  # stop() cancels the others, not itself
        await self.stop()

    def _spawn_stream(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        if len(self._tasks) >= OUTGOING_STREAMS_MAX:
            coroutine.close()
            self._stats.drop("streams_full")
            return
        self._spawn(coroutine, name)

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed name=%s", task.get_name(), exc_info=error)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
