"""Who may speak Raft with this server, by what it knows of the cluster. Pure.

Members may. So may a server of this cluster that we have been told the address of and that was
never removed: our configuration may be old, and then nobody else could bring us the newer one. A
removed server is told so and refused, whatever it says of itself. That it has come back since is
believed when a present member says so (a *vouch*), or when we learn it from the log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from raftstore.raft.frames import PROTOCOL_VERSION, Hello, Returned

REMOVED = "removed from the cluster"


class Admission:
    """The configuration in force as far as links are concerned, and what members vouch for."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._vouches: dict[str, Returned] = {}
        self.members: frozenset[str] | None = None
        """None before we belong to a cluster: then anybody may talk to us."""
        self.removed: frozenset[str] = frozenset()
        self.returned: tuple[str, ...] = ()
        self.config_index = 0

    def set_members(
        self,
        members: Iterable[str] | None,
        removed: Iterable[str],
        returned: Iterable[str],
        index: int,
    ) -> None:
        """``removed``: ids that the configuration of ``index`` does not have any more and that
        nothing can bring back. ``returned``: members of it that had been removed before."""
        self.members = None if members is None else frozenset(members)
        self.removed, self.returned = frozenset(removed), tuple(returned)
        self.config_index = index

    def heard(self, peer: str, vouch: Returned) -> bool:
        """A peer vouches for members that came back. Was it news?"""
        before, self._vouches[peer] = self._vouches.get(peer), vouch
        return before != vouch

    def forget(self, peer: str) -> None:
        """The link to the peer is gone, and with it what it has vouched for."""
        self._vouches.pop(peer, None)

    def is_removed(self, node_id: str) -> bool:
        """Is it refused for having been removed? Not while a present member that has seen a newer
        configuration than ours says that it is back."""
        if node_id not in self.removed:
            return False
        return not any(
            peer in (self.members or ())
            and vouch.config_index > self.config_index
            and node_id in vouch.node_ids
            for peer, vouch in self._vouches.items()
        )

    def refusal(
        self, hello: Hello, *, cluster_id: str, dialled: str | None, addresses: Collection[str]
    ) -> str:
        """Why the sender of this hello is not let in, "" if it is.

        ``dialled``: whom we dialled, None if it dialled us. ``addresses``: of whom we know one.
        Certificates are judged elsewhere (``identity``).
        """
        if hello.version != PROTOCOL_VERSION:
            return "wrong protocol version"
        if hello.to_node_id != self._node_id or hello.node_id == self._node_id:
            return "wrong node"
        if dialled is not None and hello.node_id != dialled:
            return "wrong node"
        if cluster_id and hello.cluster_id and cluster_id != hello.cluster_id:
            return "wrong cluster"
        if self.is_removed(hello.node_id):
            return REMOVED
        if self.members is None or hello.node_id in self.members or hello.node_id in self.removed:
            return ""
        if hello.cluster_id and hello.node_id in addresses:
            return ""
        return "stranger"
