"""Carries out what autopilot.py plans, while this server leads; and the operator's own requests.

Looks every two seconds and at every change of a member. Owns the talking to Raft and the memory of
what was done; who is to be added, promoted or removed is decided in autopilot.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.backend.operations import (
    AUTOPILOT_STATE,
    REMOVE_SERVER,
    TRANSFER_LEADERSHIP,
    AutopilotState,
    ServerHealth,
    encode_state,
)
from agent.backend.rpc import calls
from agent.errors import RequestError
from agent.leader import autopilot
from agent.leader.autopilot import (
    Action,
    AddNonVoter,
    Judge,
    Peer,
    Promote,
    Readdress,
    Remove,
    Seen,
    Verdict,
    View,
)
from raftstore.commands import SetAutopilot
from raftstore.errors import NoLeader, NotLeader, QueueFull, Refused, StoreError
from raftstore.queries import GetAutopilot
from raftstore.raft import Operations
from raftstore.records import AutopilotConfig

log = logging.getLogger("lictor.agent.servers")

#: The reference's autopilot looks this often, in seconds.
LOOK_INTERVAL_S = 2.0
CHANGE_TIMEOUT_S = 10.0
TRANSFER_TIMEOUT_S = 10.0
TRANSFER_TRIES_MAX = 3
#: Changes remembered for those who ask.
DONE_MAX = 20
VOTER, STAGING = "voter", "staging"
#: After a change, until Raft and gossip have caught up with it.
BETWEEN_CHANGES_S = 0.2


class Servers(Protocol):
    """The part of raftstore.store.Store that this needs."""

    @property
    def operations(self) -> Operations: ...
    def status(self) -> Any: ...
    def answer(self, query: GetAutopilot) -> Any: ...


@dataclass(slots=True)
class ServersStats:
    """Counters since start."""

    looks: int = 0
    added: int = 0
    promoted: int = 0
    removed: int = 0
    readdressed: int = 0
    failures: int = 0
    healthy: int = 0
    failure_tolerance: int = 0


class ServersKeeper:
    """Looks after the servers. ``run`` is one term of the leader."""

    def __init__(
        self,
        store: Servers,
        *,
        own_id: str,
        seen: Callable[[], tuple[Seen, ...]],
        heartbeat_s: float,
        forget: Callable[[str], object] = lambda name: None,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        """``seen`` is gossip's view; ``forget(name)`` tells gossip that a dead one has left."""
        self._store = store
        self._own_id = own_id
        self._seen = seen
        self._heartbeat_s = heartbeat_s
        self._forget = forget
        self._now = clock
        self._unix_now = unix_clock
        self._judge = Judge()
        self._wake = asyncio.Event()
        self._done: deque[str] = deque(maxlen=DONE_MAX)
        self._waiting: Mapping[str, str] = {}
        self.stats = ServersStats()

    @property
    def methods(self) -> dict[str, Callable[[bytes, float], Awaitable[bytes]]]:
        """What other agents may ask of the leader, by method."""
        return {
            REMOVE_SERVER: self._remove_asked,
            TRANSFER_LEADERSHIP: self._transfer_asked,
            AUTOPILOT_STATE: self._state_asked,
        }

    def member_changed(self) -> None:
        """Gossip has news of a server."""
        self._wake.set()

    # ---- looking ----

    async def run(self) -> None:
        """Until the term is over (by cancellation)."""
        self._judge = Judge()
        while True:
            self._wake.clear()
            try:
                busy = await self._look()
            except StoreError as error:
                self.stats.failures += 1
                log.warning("change of the servers failed error=%s", error)
                busy = False
            if busy:
                await asyncio.sleep(BETWEEN_CHANGES_S)
            else:
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_INTERVAL_S):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _look(self) -> bool:
        """Judge, and make the one change that is due. True if there was one."""
        view, config, now = self._view(), self.config(), self._now()
        verdicts = self._judge.judge(view, config, now)
        made = autopilot.plan(verdicts, view, config, now)
        self._waiting = made.waiting
        self.stats.looks += 1
        self.stats.healthy = sum(one.healthy for one in verdicts if one.peer is not None)
        self.stats.failure_tolerance = autopilot.failure_tolerance(verdicts)[0]
        if made.action is None:
            return False
        await self._carry_out(made.action, verdicts)
        return True

    def config(self) -> AutopilotConfig:
        """What is in force; the defaults until the first leader has written it."""
        stored: AutopilotConfig | None = self._store.answer(GetAutopilot()).value
        return stored or AutopilotConfig()

    def _view(self) -> View:
        status = self._store.status()
        return View(
            own_id=self._own_id,
            term=status.term,
            last_index=status.last_index,
            settled=bool(status.config_committed),
            peers=tuple(_peer(server, status.term) for server in self._store.operations.servers()),
            seen=self._seen(),
            heartbeat_s=self._heartbeat_s,
        )

    async def _carry_out(self, action: Action, verdicts: Sequence[Verdict]) -> None:
        raft, timeout_s = self._store.operations, CHANGE_TIMEOUT_S
        match action:
            case AddNonVoter(node_id, address):
                await raft.add_server(node_id, address, voter=False, timeout_s=timeout_s)
                self.stats.added += 1
            case Promote(node_id):
                await raft.promote(node_id, timeout_s=timeout_s)
                self.stats.promoted += 1
            case Remove(node_id):
                await raft.remove_server(node_id, timeout_s=timeout_s)
                self.stats.removed += 1
                self._forget_dead(node_id, verdicts)
            case Readdress(node_id, address, voter):
                await raft.add_server(node_id, address, voter=voter, timeout_s=timeout_s)
                self.stats.readdressed += 1
        what = type(action).__name__
        self._done.append(f"{what} {action.node_id}: {action.cause}")
        log.info("servers changed what=%s node_id=%s cause=%s", what, action.node_id, action.cause)

    def _forget_dead(self, node_id: str, verdicts: Sequence[Verdict]) -> None:
        """A dead server that is no longer one leaves gossip too, unless its name lives on."""
        one = next((v for v in verdicts if v.node_id == node_id), None)
        if one is not None and one.standing is autopilot.Standing.FAILED:
            self._forget(one.name)

    # ---- what operators ask ----

    async def _remove_asked(self, payload: bytes, timeout_s: float) -> bytes:
        node_id, address, *_ = calls.unpack(payload, str, str)
        servers = self._store.operations.servers()
        by = ("address", address) if address else ("id", node_id)
        found = [s.node_id for s in servers if by[1] in _names(s, by[0])]
        if not found:
            raise RequestError(500, f'{by[0]} "{by[1]}" was not found in the Raft configuration')
        await _asked(self._store.operations.remove_server(found[0], timeout_s=timeout_s))
        self._done.append(f"Remove {found[0]}: asked for")
        self.stats.removed += 1
        log.info("servers changed what=Remove node_id=%s cause=asked for", found[0])
        return b""

    async def _transfer_asked(self, payload: bytes, timeout_s: float) -> bytes:
        target, *_ = calls.unpack(payload, str)
        roles = {server.node_id: server.role for server in self._store.operations.servers()}
        if target and target not in roles:
            raise RequestError(500, f'id "{target}" was not found in the Raft configuration')
        if target and roles[target] != VOTER:
            raise RequestError(500, f'server "{target}" does not vote and cannot lead')
        if target == self._own_id:
            return b""
        wait_s = min(timeout_s, TRANSFER_TIMEOUT_S)
        leader = await _asked(self._hand_over(target, wait_s), retry=False)
        log.info("leadership handed over to=%s", leader)
        return b""

    async def _hand_over(self, target: str, wait_s: float) -> str:
        """Try again where the target was too slow: a refusal says that nothing has happened."""
        raft = self._store.operations
        for _ in range(TRANSFER_TRIES_MAX - 1):
            try:
                return await raft.transfer_leadership(target or None, timeout_s=wait_s)
            except (NoLeader, NotLeader):
                raise
            except Refused as error:
                log.info("leadership not handed over yet reason=%s", error)
                await asyncio.sleep(BETWEEN_CHANGES_S)
        return await raft.transfer_leadership(target or None, timeout_s=wait_s)

    async def _state_asked(self, payload: bytes, timeout_s: float) -> bytes:
        return encode_state(self.state())

    def state(self) -> AutopilotState:
        """How the servers are, judged now."""
        view, config, now = self._view(), self.config(), self._now()
        verdicts = self._judge.judge(view, config, now)
        counted = [one for one in verdicts if one.peer is not None]
        tolerance, optimistic = autopilot.failure_tolerance(verdicts)
        return AutopilotState(
            healthy=all(one.healthy for one in counted),
            failure_tolerance=tolerance,
            optimistic_failure_tolerance=optimistic,
            leader=self._own_id,
            servers=tuple(self._health(one, view, now) for one in counted),
            waiting=dict(self._waiting),
            done=tuple(self._done),
        )

    def _health(self, one: Verdict, view: View, now: float) -> ServerHealth:
        assert one.peer is not None
        leads = one.node_id == self._own_id
        contact_s = 0.0 if leads else one.peer.last_contact_s
        return ServerHealth(
            node_id=one.node_id,
            name=one.name,
            address=one.address,
            status=one.standing.value,
            version=one.seen.version if one.seen is not None else "",
            leader=leads,
            voter=one.peer.voter,
            healthy=one.healthy,
            reason=one.reason,
            last_contact_s=-1.0 if contact_s is None else contact_s,
            last_term=view.term if leads else one.peer.last_term,
            last_index=view.last_index if leads else one.peer.last_index,
            stable_since_unix_s=self._unix_now() - (now - one.since),
            read_replica=one.seen.non_voter if one.seen is not None else False,
            meta=one.seen.meta if one.seen is not None else {},
        )


def _peer(server: Any, term: int) -> Peer:
    """A match is confirmed in this term, so what is behind it is this leader's log."""
    matched = server.match_index or 0
    return Peer(
        node_id=server.node_id,
        address=server.hint,
        voter=server.role == VOTER,
        staging=server.role == STAGING,
        last_contact_s=server.last_ack_s,
        last_index=matched,
        last_term=term if matched else 0,
    )


async def _asked(doing: Awaitable[Any], *, retry: bool = True) -> Any:
    """Raft's refusals are answers for the operator; a lost leader is for the caller to look for."""
    try:
        return await doing
    except (NoLeader, NotLeader, QueueFull):
        if retry:
            raise
        raise RequestError(500, "this server does not lead any more; ask again") from None
    except Refused as error:
        raise RequestError(500, str(error)) from None


async def ensure_config(
    change: Callable[[SetAutopilot], Awaitable[object]], initial: AutopilotConfig
) -> None:
    """Write the first configuration of a cluster; a later one is left alone."""
    await change(SetAutopilot(config=initial, cas=0))


def _names(server: Any, by: str) -> tuple[str, ...]:
    """What an operator may call a server: its id, or where it was or is."""
    return (server.address, server.hint) if by == "address" else (server.node_id,)
