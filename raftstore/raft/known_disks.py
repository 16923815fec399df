"""Tells the operator where a server has come back without what it had promised.

What follows from that is decided elsewhere: whose word counts in ``engine``, how such a server is
taken in again in ``changes``. Here it is only noticed, from one configuration to the next.
"""

from __future__ import annotations

import logging

from raftstore.raft.members import Config

log = logging.getLogger("lictor.raftstore.raft.known_disks")


class KnownDisks:
    """The disks that the configuration in force knows the servers by."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._remembers = True
        self._disks: dict[str, str] = {}
        self.replaced = 0

    def look(self, config: Config, *, remembers: bool) -> None:
        """A configuration is in force. ``remembers``: does it know us by the disk that we have?"""
        if self._remembers and not remembers:
            log.error(
                "this server has lost what it promised: the cluster knows it by another disk, so it"
                " has no vote. The leader takes it in again as a new server by itself while a"
                " majority of the others is there; if it cannot, see `lictor raft recover`"
                " node=%s",
                self._node_id,
            )
        elif remembers and not self._remembers:
            log.info("this server is known by the disk that it has node=%s", self._node_id)
        self._remembers = remembers
        before, self._disks = self._disks, {n: m.disk for n, m in config.members.items()}
        for node_id, disk in self._disks.items():
            if disk and before.get(node_id, disk) not in ("", disk):
                self.replaced += 1
                log.warning(
                    "a server came back with another disk and is taken in again as a new one"
                    " node=%s",
                    node_id,
                )
