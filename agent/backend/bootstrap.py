"""When may the first servers form a cluster? No I/O.

With ``bootstrap_expect`` N a server waits until gossip shows exactly N living servers that expect
N, itself among them, and forms the cluster with exactly these. Two different sets must never both
become a cluster: each would have a majority of its own. So a server *pins* the first full set it
sees, tells it to whoever asks, and goes ahead only when all N have pinned the same one. A pin is
given up only when one of its servers is seen to be gone, or when the other side pinned differently
and nobody can have gone ahead yet. A server that meets members of a running cluster never forms
one of its own: it waits to be added.

A server may learn from the new leader that the cluster has formed before it comes to form it
itself. It is one of the founders all the same if it has seen each of the others without a cluster:
then none was there while it was, and it cannot have promised anything before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A living server as gossip shows it. ``expect`` is its tag, 0 when it has none."""

    node_id: str
    address: str
    expect: int


@dataclass(frozen=True, slots=True)
class View:
    """What one server answers when asked: its pinned set, and the cluster it is in ("": none)."""

    pinned: frozenset[str]
    cluster_id: str


class Bootstrap:
    """One server's part in forming the cluster."""

    __slots__ = ("_answered", "_expect", "_own_id", "_pinned", "_unformed", "reason")

    def __init__(self, *, own_id: str, expect: int) -> None:
        self._own_id = own_id
        self._expect = expect
        self._pinned: dict[str, str] = {}
        self._answered = False
        self._unformed: set[str] = set()
        #: Why the cluster is not formed yet, for people.
        self.reason = "no server has been seen yet"

    @property
    def pinned(self) -> Mapping[str, str]:
        """Node id to address of the servers this one would form a cluster with, or empty."""
        return self._pinned

    @property
    def founds(self) -> bool:
        """Whether a cluster of just the pinned servers can only have formed while this one ran."""
        return bool(self._pinned) and self._pinned.keys() - {self._own_id} <= self._unformed

    def seen(self, candidates: tuple[Candidate, ...]) -> bool:
        """Take in gossip's view. True when there is a full set to ask the others about."""
        living = {c.node_id: c.address for c in candidates if c.expect == self._expect}
        others = [c for c in candidates if c.expect not in (0, self._expect)]
        if self._pinned and not self._pinned.keys() <= living.keys():
            self._pinned, self._answered = {}, False
        if self._pinned:
            return True
        if not self._expect:
            self.reason = "waiting to be added by a running cluster"
        elif others:
            self.reason = "servers disagree about bootstrap_expect"
        elif self._own_id not in living or len(living) < self._expect:
            self.reason = f"{len(living)} of {self._expect} expected servers are here"
        elif len(living) > self._expect:
            self.reason = f"{len(living)} servers for bootstrap_expect {self._expect}: one too many"
        else:
            self._pinned = living
            self.reason = "asking the others"
        return bool(self._pinned)

    def asked(self) -> frozenset[str]:
        """Another server asks for our set. Once told, it is not changed for a disagreement."""
        self._answered = bool(self._pinned)
        return frozenset(self._pinned)

    def agreed(self, views: Mapping[str, View], *, cluster_id: str) -> bool:
        """Whether all others said what we say.

        ``views`` holds the answers that came, by id; ``cluster_id`` is the id that our set would
        get, so that a server that has already gone ahead with the same set counts as agreeing.
        """
        assert self._pinned, "asked without a set"
        wanted = frozenset(self._pinned)
        self._unformed |= {node_id for node_id, view in views.items() if not view.cluster_id}
        for node_id in sorted(wanted - {self._own_id}):
            view = views.get(node_id)
            if view is None:
                self.reason = f"server {node_id} has not answered"
                return False
            if view.cluster_id:
                if view.cluster_id == cluster_id:
                    continue
                self.reason = f"server {node_id} is in a cluster already, which must add this one"
                return False
            if view.pinned != wanted:
                self.reason = f"server {node_id} sees other servers"
                if view.pinned and not self._answered:
                    self._pinned = {}
                return False
        return True
