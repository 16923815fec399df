"""What an operator may ask of a leader: to hand over, and to change the set of servers.

All of it works on the leader only, with a deadline. A change is answered when it is committed.
``Refused`` and its kinds say for certain that nothing happened; ``Unknown`` that it may have, or
may yet. Asking again is harmless, since what is so already is answered at once.

Decides nothing: what a change makes of the set stands in ``changes``, when it may enter the log in
``engine``, how leadership moves in ``transfer``.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TypeVar

from raftstore.errors import NotLeader, ProposalTimeout, StoreError, Superseded, Unknown
from raftstore.raft.callers import Waiting, settle
from raftstore.raft.changes import Change, add, remove, set_role
from raftstore.raft.inspection import Inspector
from raftstore.raft.members import NON_VOTER, ROLE_NAMES, STAGING, VOTER
from raftstore.raft.refusals import Refusal
from raftstore.raft.replica import Replica
from raftstore.raft.requests import ChangeRequest, Outcome
from raftstore.raft.status import ServerStatus

R = TypeVar("R")


class Operations:
    """The operator's requests to one server's replica."""

    def __init__(
        self,
        replica: Replica,
        *,
        node_id: str,
        must_run: Callable[[], None],
        schedule: Callable[[], None],
        learn_address: Callable[[str, str], None],
        address: Callable[[str], str],
        refusals: Callable[[], list[Refusal]],
        inspector: Inspector,
    ) -> None:
        self._replica = replica
        self.refusals = refusals
        """Peers that were turned away lately, the last first."""
        self.inspect = inspector.look
        """Everything that this server can say about its Raft, whether or not it runs well."""
        self._node_id = node_id
        self._must_run = must_run
        self._schedule = schedule
        self._learn_address = learn_address
        self._address = address

    async def transfer_leadership(self, target: str | None = None, *, timeout_s: float) -> str:
        """Hand leadership to a voter, or to the one that has most of our log; the new leader's id.

        Proposals wait meanwhile and are then refused with the new leader's name. If the target does
        not catch up or take over within an election timeout each, this server leads on. Raises
        NotLeader, NoLeader, Refused (definite), or Unknown once the target has been told.
        """
        outcome = await self._ask(
            lambda waiting: self._replica.transfer(waiting, target),
            timeout_s,
            lambda _: Unknown("the transfer was not finished in time"),
        )
        assert isinstance(outcome.value, str)
        return outcome.value

    async def add_server(
        self, node_id: str, address: str, *, voter: bool = True, timeout_s: float
    ) -> int:
        """Take in a server ("host:port"); the index of the configuration that has it.

        It starts without a vote. With ``voter`` it is staging: it gets its vote by itself once it
        has caught up and stayed so for ``promotion_stable_s``. A member under another address keeps
        its role. Raises NotLeader, NoLeader, Refused, QueueFull, Superseded (definite), or
        LeadershipLost, ProposalTimeout (indefinite).
        """
        self._learn_address(node_id, address)
        return await self._change(add(node_id, address, voter=voter), timeout_s)

    async def remove_server(self, node_id: str, *, timeout_s: float) -> int:
        """Take a server out and tell it; the index of the configuration without it.

        Asked to remove itself, a leader hands over first and then raises NotLeader with the name of
        the server to ask. Refused where the voters left that answer now would be no majority.
        """
        if node_id == self._node_id:
            raise NotLeader(await self.transfer_leadership(timeout_s=timeout_s))
        return await self._change(remove(node_id), timeout_s)

    async def promote(self, node_id: str, *, timeout_s: float) -> int:
        """Let a non-voter vote once it has caught up; the index of that configuration."""
        return await self._change(set_role(node_id, STAGING), timeout_s)

    async def demote(self, node_id: str, *, timeout_s: float) -> int:
        """Take a server's vote but go on replicating to it. A leader hands over first."""
        if node_id == self._node_id:
            raise NotLeader(await self.transfer_leadership(timeout_s=timeout_s))
        return await self._change(set_role(node_id, NON_VOTER), timeout_s)

    async def _change(self, change: Change, timeout_s: float) -> int:
        outcome = await self._ask(
            lambda waiting: self._replica.change(waiting, change), timeout_s, _late_change
        )
        return outcome.index

    def servers(self) -> tuple[ServerStatus, ...]:
        """Every server of the configuration in force, sorted by id."""
        engine = self._replica.engine
        config, leads = engine.config, engine.leads()
        if config is None:
            return ()
        return tuple(
            ServerStatus(
                node_id=node_id,
                address=self._address(node_id) or member.address,
                hint=member.address,
                role=ROLE_NAMES[member.role],
                leader=node_id == engine.leader_id(),
                match_index=engine.match_index(node_id) if leads else None,
                next_index=engine.next_index(node_id) if leads else None,
                sending=engine.sending_state(node_id) if leads else "",
                inflight_bytes=engine.inflight_bytes(node_id) if leads else 0,
                last_ack_s=engine.last_ack_s(node_id) if leads else None,
            )
            for node_id, member in sorted(config.members.items())
        )

    def members(self) -> tuple[tuple[str, str, bool], ...]:
        """(node id, address, voter), sorted by id."""
        config = self._replica.engine.config
        members = {} if config is None else config.members
        return tuple(
            (node_id, self._address(node_id) or member.address, member.role == VOTER)
            for node_id, member in sorted(members.items())
        )

    async def _ask(
        self, start: Callable[[Waiting], R], timeout_s: float, late: Callable[[R], StoreError]
    ) -> Outcome:
        self._must_run()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        request = start(Waiting(functools.partial(settle, future)))
        self._schedule()
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise late(request) from None


def _late_change(request: ChangeRequest) -> StoreError:
    if request.index is None:
        request.withdrawn = True
        return Superseded("taken back: the change before it was not committed in time")
    return ProposalTimeout("the deadline passed before the change was committed")
