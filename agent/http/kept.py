"""Replies of reads, kept as bytes until the index of what they tell moves.

Who asks the same question and may see all of it is told the same, whatever token is shown: such
callers share one reply. Others have one for each set of rights (``Caller.rights``): of equal rights
there is one object, and it never changes, so who was let in once need not be looked at again.
Where a need alone decides, it is asked again instead of remembered: that takes less than a
microsecond, and thousands of tokens with thousands of keys are more than anybody can remember.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from agent.acl.caller import Need
from agent.acl.writes import AnyOf
from agent.config.bounds import Limits
from agent.http.call import Call, Change, Read
from agent.http.lane import Head
from agent.http.reply import Reply, date_line
from agent.http.routes import Route
from raftstore.thawed import maker_of

_AGE = b"\r\nX-Consul-Lastcontact: "


@dataclass(frozen=True, slots=True)
class Planned:
    """A request with what it asks."""

    call: Call
    head: Head
    route: Route
    plan: Read | Change


make_planned = maker_of(Planned)


def _one_of(needs: tuple[AnyOf, ...] | None) -> Need | None:
    if needs is None or len(needs) != 1 or len(needs[0]) != 1 or needs[0][0].below:
        return None
    return needs[0][0]


class KeptRead:
    """A read and its reply at one index, in pieces around what changes."""

    __slots__ = ("after_age", "after_date", "before_age", "blocks", "held", "index", "known_leader",
                 "last", "need", "needs", "planned", "read", "readers", "secret", "size",
                 "status")  # fmt: skip

    def __init__(
        self,
        planned: Planned,
        read: Read,
        secret: str = "",
        needs: tuple[AnyOf, ...] | None = None,
    ) -> None:
        self.planned = planned
        #: What alone decides who is told from it; None where ``readers`` say it.
        self.needs = needs
        #: The same where it is one permission on something named.
        self.need = _one_of(needs)
        #: The rights that met it last: mostly one client's, with one token.
        self.last: object = None
        self.read = read
        #: The token that target and head always name; "" where it is another one each time.
        self.secret = secret
        #: From which reply each of those is told who may ask.
        self.readers: dict[object, KeptRead] = {}
        #: Still among the kept ones; a read may be pushed out while its answer is on its way.
        self.held = True
        #: Whether an index makes it wait; None until somebody has asked with one.
        self.blocks: bool | None = None
        self.index = -1
        self.known_leader = False
        self.status = 0
        self.size = 0
        self.before_age = self.after_age = self.after_date = b""

    def render(self, reply: Reply, index: int, known_leader: bool) -> None:
        """Keep a reply."""
        opening = reply.opening().encode("utf-8", "replace")
        before, age, after = opening.partition(_AGE)
        assert age, "every read tells the age of its answer"
        self.before_age = before + age
        self.after_age = after[after.index(b"\r\n") :]
        self.after_date = b"Content-Length: %d\r\n\r\n" % len(reply.body) + reply.body
        self.status, self.index, self.known_leader = reply.status, index, known_leader
        self.size = len(opening) + len(self.after_date)

    def encoded(self, last_contact_s: float) -> bytes:
        """The reply as of now."""
        age = b"%d" % (last_contact_s * 1000)
        return b"".join((self.before_age, age, self.after_age, date_line(), self.after_date))


class KeptReads:
    """Bounded in number and bytes, where the oldest make room, and in readers, of all reads
    together: then all of those are forgotten."""

    __slots__ = ("_limits", "_reads", "_with_readers", "bytes", "readers")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reads: dict[Hashable, KeptRead] = {}
        #: Those that anybody was let in to.
        self._with_readers: set[KeptRead] = set()
        self.bytes = 0
        #: How many are remembered.
        self.readers = 0

    def __len__(self) -> int:
        return len(self._reads)

    def __iter__(self) -> Iterator[KeptRead]:
        return iter(self._reads.values())

    def find(self, key: Hashable) -> KeptRead | None:
        """What is kept for a question; a question and rights."""
        return self._reads.get(key)

    def add(self, key: Hashable, kept: KeptRead) -> None:
        """Keep one more."""
        while len(self._reads) >= self._limits.http_kept_replies_max:
            self._forget_oldest()
        self._reads[key] = kept

    def let_in(self, kept: KeptRead, rights: object, told: KeptRead) -> None:
        """Remember that these may ask, and what they are told from."""
        if not kept.held:
            return
        if self.readers >= self._limits.http_kept_readers_max:
            for each in self._with_readers:
                each.readers.clear()
            self._with_readers.clear()
            self.readers = 0
        if rights not in kept.readers:
            self.readers += 1
        kept.readers[rights] = told
        self._with_readers.add(kept)

    def render(self, kept: KeptRead, reply: Reply, index: int, known_leader: bool) -> None:
        """Keep a reply; older ones make room."""
        before = kept.size
        kept.render(reply, index, known_leader)
        if kept.held:
            self.bytes += kept.size - before
        while self.bytes > self._limits.http_kept_replies_max_size and len(self._reads) > 1:
            self._forget_oldest()

    def drop(self) -> None:
        """Keep nothing: the state was replaced by another one."""
        while self._reads:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._reads.pop(next(iter(self._reads)))
        self.bytes -= oldest.size
        oldest.held = False
        if oldest.readers:
            self.readers -= len(oldest.readers)
            oldest.readers = {}  # it may be among them itself
            self._with_readers.discard(oldest)
