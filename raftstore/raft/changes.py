"""How one configuration may follow another, and when a staging server may vote.

One voter at a time (Raft thesis, 4.1): any majority of a set shares a server with any majority of
a set that differs by one voter, so two leaders can never be chosen by sets that lie side by side.
The leader appends the next set only when the one before is committed, and an entry of its own term
too; without the second rule two leaders could append sets that differ by two (Ongaro, raft-dev,
2015). Whether those two hold now is the engine's to say; here is what a change makes of a set.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from raftstore.errors import Refused
from raftstore.raft.members import (
    ADDRESS_CHARS_MAX,
    FORMER_MAX,
    MEMBERS_MAX,
    NODE_ID_CHARS_MAX,
    NON_VOTER,
    STAGING,
    VOTER,
    Config,
    Disk,
    Member,
)

Change = Callable[[Config], Config]
"""Makes the next set of the one in force. Raises Refused, for certain, where it makes no sense."""


class Unchanged(Exception):
    """The configuration in force is what the change would make of it."""


def add(node_id: str, address: str, *, voter: bool) -> Change:
    """Take a server in: as one that is to vote once it has caught up, or as one that never will.

    A member under a new address keeps its role.
    """

    def change(config: Config) -> Config:
        if not 0 < len(node_id) <= NODE_ID_CHARS_MAX or not len(address) <= ADDRESS_CHARS_MAX:
            raise Refused("a node id or an address is empty or too long")
        known = config.members.get(node_id)
        if known is None and len(config.members) >= MEMBERS_MAX:
            raise Refused(f"the cluster has {MEMBERS_MAX} servers already, which is the most")
        role, disk = STAGING if voter else NON_VOTER, ""
        if known is not None:
            role = STAGING if voter and known.role == NON_VOTER else known.role
            disk = known.disk
        return _with(config, node_id, Member(role, address, disk))

    return change


def remove(node_id: str) -> Change:
    """Take a server out. Its id is remembered, so that it can be told."""

    def change(config: Config) -> Config:
        if node_id not in config.members:
            raise Refused(f"no server with id {node_id!r} in the configuration")
        members = {n: member for n, member in config.members.items() if n != node_id}
        former = [*(n for n in config.former if n != node_id), node_id]
        return Config(config.cluster_id, members, tuple(former[-FORMER_MAX:]))

    return change


def set_role(node_id: str, role: int) -> Change:
    """Give a member another role. ``STAGING`` leaves a voter a voter."""

    def change(config: Config) -> Config:
        member = config.members.get(node_id)
        if member is None:
            raise Refused(f"no server with id {node_id!r} in the configuration")
        if role == STAGING and member.role == VOTER:
            raise Unchanged
        return _with(config, node_id, replace(member, role=role))

    return change


def unfounded(config: Config, disks: Mapping[str, Disk]) -> frozenset[str]:
    """Voters that nobody has noted a disk of yet and that show one without the first entry.

    Either they have lost the one on which they founded the cluster, or they are about to found it:
    of servers that form a cluster one may lead before the last has heard that it is to.
    """
    return frozenset(
        n
        for n, member in config.members.items()
        if member.role == VOTER and not member.disk and n in disks and not disks[n].founding
    )


def note_disks(disks: Mapping[str, Disk], patient_with: Collection[str] = ()) -> Change:
    """Write down which disk each server keeps its promises on; raises Unchanged if all stand.

    A voter that shows another disk than the one it is known by has lost what it promised: it is
    taken back into the set as a new server, with the disk it has now. One at a time, since that
    takes a vote away. A cluster of one has nobody to be protected from it. Those whom we are
    ``patient_with`` are left as they are.
    """

    def change(config: Config) -> Config:
        if len(config.members) == 1:
            raise Unchanged
        shown = {n for n, disk in disks.items() if disk.id and n not in patient_with}
        known = {n: m for n, m in config.members.items() if n in shown}
        for node_id, member in sorted(known.items()):
            if member.role == VOTER and not member.keeps_promises_on(disks[node_id]):
                return _with(config, node_id, Member(STAGING, member.address, disks[node_id].id))
        noted = {n: replace(m, disk=disks[n].id) for n, m in known.items()}
        if all(config.members[n] == member for n, member in noted.items()):
            raise Unchanged
        return Config(config.cluster_id, {**config.members, **noted}, config.former)

    return change


def _with(config: Config, node_id: str, member: Member) -> Config:
    if config.members.get(node_id) == member:
        raise Unchanged
    return Config(config.cluster_id, {**config.members, node_id: member}, config.former)


def check_step(before: Config, after: Config) -> None:
    """Raise Refused unless ``after`` may stand beside ``before`` in a log."""
    if before.cluster_id != after.cluster_id:
        raise Refused("a configuration belongs to one cluster for ever")
    if len(before.voters ^ after.voters) > 1:
        raise Refused("only one voter may change at a time")
    if not after.voters:
        raise Refused("the last voter cannot be removed")


def check_health(after: Config, healthy: Iterable[str]) -> None:
    """Raise Refused if fewer than a majority of the next voters have been heard lately."""
    alive = len(after.voters & set(healthy))
    if 2 * alive <= len(after.voters):
        raise Refused(
            f"only {alive} of the {len(after.voters)} voters that would be left answer now:"
            " the change would cost the cluster its quorum"
        )


class Promotion:
    """Says which staging server has caught up, from one look per heartbeat.

    A server has caught up when it lacked no more than ``lag_max`` entries at ``LOOKS`` heartbeats
    in a row, and may vote when that has lasted for ``stable_s`` seconds (hashicorp/raft-autopilot
    waits ten).
    """

    __slots__ = ("_lag_max", "_seen", "_stable_s")

    LOOKS = 3

    def __init__(self, *, lag_max: int, stable_s: float) -> None:
        self._lag_max = lag_max
        self._stable_s = stable_s
        self._seen: dict[str, tuple[int, float]] = {}

    def reset(self) -> None:
        """Leadership is new: nothing has been seen."""
        self._seen.clear()

    def look(self, now: float, lags: Mapping[str, int | None]) -> str | None:
        """One heartbeat: staging server -> entries it lacks, or None if it is not heard."""
        for gone in [node_id for node_id in self._seen if node_id not in lags]:
            del self._seen[gone]
        for node_id, lag in sorted(lags.items()):
            if lag is None or lag > self._lag_max:
                self._seen.pop(node_id, None)
                continue
            looks, since = self._seen.get(node_id, (0, now))
            self._seen[node_id] = (looks + 1, since)
        for node_id, (looks, since) in sorted(self._seen.items()):
            if looks >= self.LOOKS and now - since >= self._stable_s:
                return node_id
        return None
