"""Those who wait for their proposal or read: told once, and not left waiting past their deadline.

The deadlines of all callers stand behind one timer, in coarse steps. A timer of its own cost each
proposal about as much as its way into the log; here a caller is put into the bucket of its deadline
and taken out when it has its answer. A deadline is noticed up to one step late, never early.

Holds no clock and makes no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from raftstore.errors import ProposalTimeout, Refused, StoreError, Superseded
from raftstore.raft.requests import Outcome, Proposal

STEP_S = 0.05
"""How coarse deadlines are, in seconds."""

Done = Callable[["Outcome | StoreError"], None]
"""Takes what became of a proposal or a read. Must be short and must not raise."""


class Waiting:
    """A caller on the way to its answer. ``proposal`` is None for a read."""

    __slots__ = ("_done", "key", "proposal")

    def __init__(self, done: Done) -> None:
        self._done: Done | None = done
        self.key = 0
        self.proposal: Proposal | None = None

    def settle(self, result: Outcome | StoreError) -> None:
        """Tell the caller, unless it has been told."""
        done, self._done = self._done, None
        if done is not None:
            done(result)

    def too_late(self) -> StoreError:
        """What it means that the deadline has passed first. Takes back what is still queued."""
        proposal = self.proposal
        if proposal is None:
            return Refused("leadership could not be confirmed in time")
        if proposal.index is None:
            proposal.withdrawn = True
            return Superseded("taken back: the deadline passed in the queue")
        return ProposalTimeout("the deadline passed before the commit")


def settle(future: asyncio.Future[Outcome], result: Outcome | StoreError) -> None:
    """A ``Done`` that hands the result to who awaits a future."""
    if future.done():
        return
    if isinstance(result, Outcome):
        future.set_result(result)
    else:
        future.set_exception(result)


class Deadlines:
    """Waiting callers by the step in which their time is up."""

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Waiting, None]] = {}

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def add(self, waiting: Waiting, at: float) -> None:
        """Watch over a caller until ``at``."""
        key = waiting.key = int(at / STEP_S) + 1
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = {}
        bucket[waiting] = None

    def drop(self, waiting: Waiting) -> None:
        """Forget a caller; no matter if it is not here any more."""
        bucket = self._buckets.get(waiting.key)
        if bucket is not None:
            bucket.pop(waiting, None)
            if not bucket:
                del self._buckets[waiting.key]

    def due(self, now: float) -> list[Waiting]:
        """Take out the callers whose time is up, the earliest first."""
        last = int(now / STEP_S)
        keys = sorted(key for key in self._buckets if key <= last)
        return [waiting for key in keys for waiting in self._buckets.pop(key)]
