"""What to do when a majority of the servers is gone for good: who goes on, and what is lost. Pure.

A *survivor* is what is left of one server: its log and what it promised. The seed is the one with
the best log by Raft's own measure (last term, then last index), for it holds every write that any
set of survivors can prove. The cluster that goes on from it has a new id, so that servers of the
old one, should they come back after all, are strangers to it and cannot mix their log in.

Two ways lead there. ``plan`` looks at data directories and names one seed that goes on alone; the
others join it empty. ``parse_peers`` reads Consul's peers.json, with which several survivors go on
together. Reading and rewriting what is on disk is recover.py's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raftstore.errors import StoreError
from raftstore.raft.members import (
    ADDRESS_CHARS_MAX,
    CLUSTER_NAMESPACE,
    MEMBERS_MAX,
    NODE_ID_CHARS_MAX,
    NON_VOTER,
    VOTER,
    Config,
    Member,
)

#: Entries of one survivor that are described one by one.
SHOWN_MAX = 20
PEERS_BYTES_MAX = 1024 * 1024


class RecoveryRefused(StoreError):
    """The recovery cannot be done as asked; nothing was changed. The text is for the operator."""

    definite = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """What one server's journal says. ``runs`` are (first index, term) of each term in the log."""

    path: str
    node_id: str
    term: int
    vote: str | None
    first_index: int
    last_index: int
    last_term: int
    commit_index: int
    config_index: int
    config: Config
    snapshot: tuple[int, int] | None = None
    """(index, term) of the snapshot that stands in for the log's beginning."""
    runs: tuple[tuple[int, int], ...] = ()

    def term_at(self, index: int) -> int | None:
        """Term of an entry, None where the log does not reach (any more)."""
        if not self.first_index <= index <= self.last_index:
            return None
        found = None
        for first, term in self.runs:
            if first > index:
                break
            found = term
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Entries of one survivor that the seed does not have: from ``first`` on, ``count`` of them."""

    node_id: str
    first: int
    count: int
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """Who goes on and what that costs, for people and programs."""

    seed: str
    cluster_id: str
    new_cluster_id: str
    voters: tuple[str, ...]
    missing: tuple[str, ...]
    quorum: int
    #: There is a quorum among the survivors: starting them is all that is needed.
    needless: bool
    #: An acknowledged write can be on missing servers only.
    acknowledged_at_risk: bool
    losses: tuple[Loss, ...]
    survivors: tuple[Survivor, ...]
    notes: tuple[str, ...] = ()


def new_cluster_id(old: str, members: Iterable[str]) -> str:
    """The id of the cluster that goes on. The same on all servers that are told the same set."""
    return str(uuid.uuid5(CLUSTER_NAMESPACE, "\n".join(["recovered", old, *sorted(members)])))


def plan(survivors: Sequence[Survivor], *, seed: str = "") -> RecoveryPlan:
    """Choose the seed (or take the one named) and say what is lost. Raises RecoveryRefused."""
    if not survivors:
        raise RecoveryRefused("no data directory could be read: there is nothing to recover from")
    by_id = {one.node_id: one for one in survivors}
    if len(by_id) < len(survivors):
        raise RecoveryRefused("two data directories belong to one node id: give each server once")
    clusters = {one.config.cluster_id for one in survivors}
    if len(clusters) > 1:
        raise RecoveryRefused(f"the servers belong to different clusters: {sorted(clusters)}")
    if seed and seed not in by_id:
        raise RecoveryRefused(f"no data directory of a server {seed!r} was given")
    best = max(survivors, key=lambda s: (s.last_term, s.last_index, s.commit_index, s.node_id))
    chosen = by_id[seed] if seed else best
    voters = _newest_config(survivors).voters
    quorum = len(voters) // 2 + 1
    present = voters & by_id.keys()
    missing = len(voters) - len(present)
    notes = []
    if (chosen.last_term, chosen.last_index) < (best.last_term, best.last_index):
        notes.append(f"{best.node_id} has the better log: naming another seed loses more")
    if chosen.last_index < max(one.commit_index for one in survivors):
        notes.append("the seed lacks entries that are known to be committed")
    if chosen.node_id not in voters:
        notes.append("the seed had no vote")
    return RecoveryPlan(
        seed=chosen.node_id,
        cluster_id=chosen.config.cluster_id,
        new_cluster_id=new_cluster_id(chosen.config.cluster_id, [chosen.node_id]),
        voters=tuple(sorted(voters)),
        missing=tuple(sorted(voters - present)),
        quorum=quorum,
        needless=len(present) >= quorum,
        # A write is acknowledged by a quorum. Only if the missing ones alone can be a quorum can
        # there be a write of which no survivor has heard; and only the best log has all the rest.
        acknowledged_at_risk=missing >= quorum or bool(notes),
        losses=tuple(
            loss for one in survivors if one is not chosen and (loss := _loss(one, chosen))
        ),
        survivors=tuple(sorted(survivors, key=lambda s: (-s.last_term, -s.last_index, s.node_id))),
        notes=tuple(notes),
    )


def _newest_config(survivors: Sequence[Survivor]) -> Config:
    return max(survivors, key=lambda s: (s.last_term, s.config_index, s.last_index)).config


def _loss(one: Survivor, seed: Survivor) -> Loss | None:
    shared = common_index(one, seed)
    if shared >= one.last_index:
        return None
    return Loss(node_id=one.node_id, first=shared + 1, count=one.last_index - shared)


def common_index(a: Survivor, b: Survivor) -> int:
    """Up to where two logs are equal: they are, below any entry of the same index and term."""
    least = max(a.first_index, b.first_index)
    starts = {first for first, _ in (*a.runs, *b.runs)}
    last = min(a.last_index, b.last_index)
    # Within an interval in which neither log changes its term, all entries agree or none does.
    edges = sorted({last, *(first - 1 for first in starts), *starts}, reverse=True)
    for index in edges:
        if index <= last and index >= least:
            term = a.term_at(index)
            if term is not None and term == b.term_at(index):
                return index
    # What a snapshot stands in for was committed, and so it is the same in both.
    return min(least, last)


def seed_config(survivor: Survivor) -> Config:
    """The configuration of the seed alone, under a new cluster id."""
    known = survivor.config.members.get(survivor.node_id)
    address = known.address if known is not None else ""
    members = {survivor.node_id: Member(VOTER, address)}
    return Config(new_cluster_id(survivor.config.cluster_id, members), members)


# -- peers.json ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """One server of a peers.json; ``node_id`` is "" where only the address is given."""

    node_id: str
    address: str
    non_voter: bool = False


def parse_peers(text: str) -> tuple[PeerEntry, ...]:
    """Consul's peers.json: objects of id, address and non_voter, or (before 0.8) addresses.

    Raises RecoveryRefused with a sentence that says what is wrong.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecoveryRefused(f"peers.json is no JSON: {error}") from None
    if not isinstance(found, list) or not found:
        raise RecoveryRefused("peers.json must be a list of at least one server")
    if len(found) > MEMBERS_MAX:
        raise RecoveryRefused(f"peers.json names {len(found)} servers, the most is {MEMBERS_MAX}")
    entries = tuple(_entry(at, item) for at, item in enumerate(found, 1))
    for name in ("node_id", "address"):
        values = [getattr(entry, name) for entry in entries if getattr(entry, name)]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise RecoveryRefused(f"peers.json names {twice[0]!r} twice")
    if all(entry.non_voter for entry in entries):
        raise RecoveryRefused("peers.json has no server that votes")
    return entries


def _entry(at: int, item: Any) -> PeerEntry:
    if isinstance(item, str):
        entry = PeerEntry("", item)
    elif isinstance(item, dict):
        node_id, address = item.get("id", ""), item.get("address", "")
        non_voter = item.get("non_voter", False)
        kinds_fit = isinstance(node_id, str) and isinstance(address, str)
        if not kinds_fit or not isinstance(non_voter, bool):
            raise RecoveryRefused(
                f"peers.json, server {at}: id and address are texts, non_voter is true or false"
            )
        if not 0 < len(node_id) <= NODE_ID_CHARS_MAX:
            raise RecoveryRefused(f"peers.json, server {at}: id is missing or too long")
        entry = PeerEntry(node_id.lower(), address, non_voter)
    else:
        raise RecoveryRefused(f"peers.json, server {at}: an object or an address is expected")
    host, colon, port = entry.address.rpartition(":")
    well_formed = bool(host and colon) and port.isascii() and port.isdecimal()
    if not well_formed or len(entry.address) > ADDRESS_CHARS_MAX or not 0 < int(port[:6]) < 65536:
        raise RecoveryRefused(
            f'peers.json, server {at}: address {entry.address!r} is not "host:port"'
        )
    return entry


def peers_config(
    entries: Sequence[PeerEntry], before: Config, *, own_id: str, own_address: str
) -> Config:
    """The configuration that a peers.json asks for. Raises RecoveryRefused.

    Servers that are named by address only are found in the configuration ``before``.
    """
    known = {member.address: node_id for node_id, member in before.members.items()}
    known[own_address] = own_id
    members: dict[str, Member] = {}
    for entry in entries:
        node_id = entry.node_id or known.get(entry.address, "")
        if not node_id:
            raise RecoveryRefused(
                f"peers.json: no server is known at {entry.address!r}; write its id beside it"
            )
        if node_id in members:
            raise RecoveryRefused(f"peers.json names server {node_id!r} twice")
        members[node_id] = Member(NON_VOTER if entry.non_voter else VOTER, entry.address)
    if own_id not in members:
        raise RecoveryRefused(f"peers.json does not name this server ({own_id})")
    return Config(new_cluster_id(before.cluster_id, _marks(members)), members)


def _marks(members: Mapping[str, Member]) -> list[str]:
    """What must be alike in the files of all servers for them to go on together."""
    return [f"{node_id} {member.role}" for node_id, member in members.items()]
