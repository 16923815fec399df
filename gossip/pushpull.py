"""Full-state exchange: may the two rings speak, how often to exchange, what each record claims.

Gossip wire contract, sections 3.4 and 3.11. The exchange itself is driven by gossip.net, the claims
are judged by gossip.members.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gossip.errors import RemoteError
from gossip.members import VERSIONS_BYTES, Record
from gossip.wire.messages import Alive, Dead, NodeState, State, Suspect

SCALE_THRESHOLD = 32  # rings up to this size exchange at the plain interval


def scale(ring_size: int) -> int:
    """By how much the exchange interval stretches in large rings, to bound their load."""
    if ring_size <= SCALE_THRESHOLD:
        return 1
    return math.ceil(math.log2(ring_size) - math.log2(SCALE_THRESHOLD)) + 1


def snapshot(records: Iterable[Record]) -> tuple[NodeState, ...]:
    """Our table as it is sent: every record, also the suspect, dead and left."""
    return tuple(
        NodeState(
            incarnation=record.incarnation,
            name=record.name,
            address=record.address,
            port=record.port,
            meta=record.meta,
            versions=record.versions,
            state=record.state,
        )
        for record in records
    )


def verify(remote: Iterable[NodeState], local: Iterable[Record]) -> None:
    """Raise RemoteError unless everybody understands what everybody speaks."""
    remote = list(remote)
    local = list(local)
    low = [0, 0]
    high = [255, 255]
    alive = [node.versions or b"" for node in remote if node.state is State.ALIVE]
    alive += [record.versions for record in local if record.state is State.ALIVE]
    for versions in alive:
        if len(versions) == VERSIONS_BYTES:
            for layer in (0, 1):
                low[layer] = max(low[layer], versions[3 * layer])
                high[layer] = min(high[layer], versions[3 * layer + 1])
    spoken = [(node.name, node.versions or b"") for node in remote]
    spoken += [(record.name, record.versions) for record in local]
    for name, versions in spoken:
        for layer, title in enumerate(("protocol", "delegate protocol")):
            current = versions[3 * layer + 2] if len(versions) == VERSIONS_BYTES else 0
            if not low[layer] <= current <= high[layer]:
                raise RemoteError(
                    f"Node '{name}' {title} version ({current}) is incompatible: "
                    f"[{low[layer]}, {high[layer]}]"
                )


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
