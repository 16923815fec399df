"""Full-state exchange: may the two rings speak, how often to exchange, what each record claims.

Gossip wire contract, sections 3.4 and 3.11. The exchange itself is driven by gossip.net, the claims
are judged by gossip.members.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gossip.admission import LAYERS, VERSIONS_BYTES, objection, spoken, unfit
from gossip.config import GossipConfig
from gossip.errors import RemoteError
from gossip.members import ENDED, MemberTable, Record
from gossip.wire.messages import Alive, Dead, NodeState, State, Suspect

SCALE_THRESHOLD = 32  # rings up to this size exchange at the plain interval


def scale(ring_size: int) -> int:
    """By how much the exchange interval stretches in large rings, to bound their load."""
    if ring_size <= SCALE_THRESHOLD:
        return 1
    return math.ceil(math.log2(ring_size) - math.log2(SCALE_THRESHOLD)) + 1


def snapshot(records: Iterable[Record]) -> tuple[NodeState, ...]:
    """Our table as it is sent: every record, also the suspect, dead and left.

    A record is a value, so this copies references only: an exchange in a large ring must not hold
    up what else the member does.
    """
    return tuple(records)


def verify(remote: Iterable[NodeState], local: Iterable[NodeState]) -> None:
    """Raise RemoteError unless everybody understands what everybody speaks: the reference's way,
    by which one odd record spoils the exchange for all."""
    remote = list(remote)
    local = list(local)
    # A ring knows a handful of versions, whatever its size.
    versions_spoken = {node.versions or b"" for node in remote}
    versions_spoken |= {record.versions or b"" for record in local}
    alive = {node.versions or b"" for node in remote if node.state is State.ALIVE}
    alive |= {record.versions or b"" for record in local if record.state is State.ALIVE}
    low = [0, 0]
    high = [255, 255]
    for versions in alive:
        if len(versions) == VERSIONS_BYTES:
            for layer in (0, 1):
                low[layer] = max(low[layer], versions[3 * layer])
                high[layer] = min(high[layer], versions[3 * layer + 1])
    for layer, title in enumerate(LAYERS):
        foreign = {v for v in versions_spoken if not low[layer] <= spoken(v, layer) <= high[layer]}
        for node in (*remote, *local) if foreign else ():
            versions = node.versions or b""
            if versions in foreign:
                raise RemoteError(
                    f"Node '{node.name}' {title} version ({spoken(versions, layer)}) is "
                    f"incompatible: [{low[layer]}, {high[layer]}]"
                )


def verify_some(remote: Iterable[NodeState], config: GossipConfig) -> None:
    """Raise RemoteError when we understand none of the living there, or want none: a foreign ring.

    Which single records are left out is decided where each is judged (gossip.members). What is
    said of the dead needs no version.
    """
    why = ""
    fits: dict[bytes, str] = {}
    for node in remote:
        if node.state is not State.ALIVE:
            continue
        versions = node.versions or b""
        if versions not in fits:
            fits[versions] = unfit(node.name, versions)
        reason = fits[versions] or objection(node.name, node.meta, node.address, config)
        if not reason:
            return
        why = why or reason
    if why:
        raise RemoteError(why)


def news(nodes: Iterable[NodeState], table: MemberTable) -> Iterator[NodeState]:
    """The records that could change something here; a quiet ring's exchange has none.

    Left out is only what gossip.members would ignore: no higher incarnation for a live member that
    we hold at the same address, or no sign of life from one that has ended here as well. Where a
    table names a member twice, the first record may change what the second is held against.
    """
    known = table.records
    told = {table.local_name}
    for node in nodes:
        mine = known.get(node.name)
        if mine is not None and node.name not in told:
            if node.state is State.ALIVE:
                if (
                    node.incarnation <= mine.incarnation
                    and node.address == mine.address
                    and node.port == mine.port
                ):
                    continue
            elif mine.state in ENDED:
                continue
        told.add(node.name)
        yield node


def buried(nodes: Iterable[NodeState], name: str) -> NodeState | None:
    """The member of this name that a peer's table has as dead or left, if there is one."""
    for node in nodes:
        if node.name == name and node.state in ENDED:
            return node
    return None


def claims(nodes: Iterable[NodeState], local_name: str) -> Iterator[Alive | Suspect | Dead]:
    """What each record says, as messages. The dead become suspects: they get a chance to refute."""
    for node in nodes:
        if node.state is State.ALIVE:
            yield Alive(
                incarnation=node.incarnation,
                node=node.name,
                address=node.address,
                port=node.port,
                meta=node.meta,
                versions=node.versions,
            )
        elif node.state is State.LEFT:
            yield Dead(node.incarnation, node.name, node.name)
        else:
            yield Suspect(node.incarnation, node.name, local_name)
