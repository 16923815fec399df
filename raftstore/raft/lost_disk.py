"""A server that comes back without what it had promised: what is said about it, and to whom.

A vote and an acknowledgement are promises, and a server that has lost its disk has forgotten both.
So servers are known by their disks: each says in its hello which one it has and how far its log
goes, and the configuration names the one that each member has promised on. Whose word counts by
that is decided in ``engine``, how such a server is taken in again in ``changes``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from raftstore.errors import DecodeError
from raftstore.raft.members import DISK_ID_CHARS_MAX, VOTER, Config, Disk

NUMBER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Forgotten:
    """You acknowledged entry ``index`` to me in ``term``, and your log ends before it."""

    term: int
    index: int


@dataclass(frozen=True, slots=True)
class DiskIs:
    """What I keep promises on has changed since my hello."""

    disk: Disk


def disk_is(disk_id: str, founding: bool) -> DiskIs:
    """From the fields of a frame. Raises DecodeError."""
    if len(disk_id) > DISK_ID_CHARS_MAX:
        raise DecodeError("disk: id too long")
    return DiskIs(Disk(disk_id, founding))


def memory_of(fields: list[Any]) -> tuple[Disk, int]:
    """Disk and last index from a hello. Raises DecodeError."""
    match fields:
        case [str(disk_id), bool(founding), int(last)] if (
            0 <= last <= NUMBER_MAX and type(last) is int
        ):
            return disk_is(disk_id, founding).disk, last
        case _:
            raise DecodeError("hello: wrong memory")


_LOST = (
    "this server has lost what it promised: the cluster knows it by another disk, so it has no"
    " vote. The leader takes it in again as a new server by itself while a majority of the others"
    " is there; if it cannot, see `lictor raft recover`"
)


class KnownDisks:
    """Notices, from one configuration to the next, what an operator should hear of."""

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._remembers = True
        self._doubted = False
        self._disks: dict[str, str] = {}
        self.replaced = 0

    def look(self, config: Config, *, remembers: bool) -> list[str]:
        """A configuration is in force. ``remembers``: does it know us by the disk that we have?"""
        return self._ourselves(config, remembers) + self._others(config)

    def _ourselves(self, config: Config, remembers: bool) -> list[str]:
        """What is to be said of our own disk.

        While nobody has noted any disk of ours, we may as well be a founder that has heard of its
        cluster before it was told to form it: nothing is said until it is known which.
        """
        member = config.members.get(self._node_id)
        votes = member is not None and member.role == VOTER
        if not remembers and member is not None and not member.disk:
            self._doubted = votes  # who has no vote has promised nothing
            return []
        doubted, self._doubted = self._doubted, False
        news: list[str] = []
        judged = doubted and remembers and not votes  # the leader has noted the new disk
        if judged or (self._remembers and not remembers):
            news.append(f"{_LOST} node={self._node_id}")
        elif remembers and not self._remembers:
            news.append(f"this server is known by the disk that it has node={self._node_id}")
        self._remembers = remembers
        return news

    def _others(self, config: Config) -> list[str]:
        before, self._disks = self._disks, {n: m.disk for n, m in config.members.items()}
        news: list[str] = []
        for node_id, disk in self._disks.items():
            if disk and before.get(node_id, disk) not in ("", disk):
                self.replaced += 1
                news.append(
                    "a server came back with another disk and is taken in again as a new one"
                    f" node={node_id}"
                )
        return news
