"""Who may be in the table, and under which name: the rules an alive claim has to pass.

Pure rules on values; gossip.members applies them to its records. The reference judges a whole
exchange at once, so that one odd record keeps everybody out (gossip wire contract, 3.4 and traps
19); here each record is judged by itself, and the reference's way is ``push_pull_strict``. Names
move by section 3.3, and beyond it when the claimant says which agent it is.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from gossip.config import META_BYTES_MAX, GossipConfig
from gossip.wire import serf as wire
from gossip.wire.messages import Alive, NodeState, State

NAME_BYTES_RECEIVED_MAX = 256  # older members allow longer names than we do
VERSIONS_BYTES = 6
VERSIONS = bytes((1, 5, 2, 2, 5, 5))  # memberlist min, max, spoken; Serf min, max, spoken
LAYERS = ("protocol", "delegate protocol")


def valid(claim: Alive) -> bool:
    """Whether any member may say this at all."""
    if not 1 <= len(claim.node.encode()) <= NAME_BYTES_RECEIVED_MAX:
        return False
    if len(claim.address) not in (4, 16) or len(claim.meta or b"") > META_BYTES_MAX:
        return False
    vsn = claim.versions or b""
    return not (len(vsn) >= 3 and (vsn[0] == 0 or vsn[1] == 0 or vsn[0] > vsn[1]))


def spoken(versions: bytes, layer: int) -> int:
    """What it speaks: memberlist's (0) or Serf's (1) protocol; 0 when it does not say."""
    return versions[3 * layer + 2] if len(versions) == VERSIONS_BYTES else 0


def unfit(name: str, versions: bytes | None) -> str:
    """Why we and a member of these versions do not understand each other; empty if we do."""
    theirs = versions or b""
    for layer, title in enumerate(LAYERS):
        low, high = VERSIONS[3 * layer], VERSIONS[3 * layer + 1]
        if len(theirs) == VERSIONS_BYTES:
            low = max(low, theirs[3 * layer])
            high = min(high, theirs[3 * layer + 1])
        current = spoken(theirs, layer)
        if not (low <= current <= high and low <= spoken(VERSIONS, layer) <= high):
            return f"Node '{name}' {title} version ({current}) is incompatible: [{low}, {high}]"
    return ""


def identity(meta: bytes | None, tag: str) -> str:
    """Which agent it is, whatever its name: the value of a tag; empty when it does not say."""
    return wire.decode_tags(meta or b"").get(tag, "") if meta and tag else ""


@functools.lru_cache(maxsize=8)
def _networks(cidrs: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)


def foreign(address: bytes, config: GossipConfig) -> str:
    """Why nobody may be at an address; empty when one may."""
    if not config.networks or len(address) not in (4, 16):
        return ""  # a claim of neither length is invalid anyway
    place = ipaddress.ip_address(address)
    mapped = place.ipv4_mapped if isinstance(place, ipaddress.IPv6Address) else None
    if any((mapped or place) in network for network in _networks(config.networks)):
        return ""
    return f"its address {place} is outside of the networks that are allowed"


def objection(name: str, meta: bytes | None, address: bytes, config: GossipConfig) -> str:
    """Why the member is not wanted in this ring; empty when it is."""
    if why := foreign(address, config):
        return why
    if config.admits is None:
        return ""
    return config.admits(name, wire.decode_tags(meta or b""))


def free_at(
    record: NodeState, changed_at: float, claim: Alive, config: GossipConfig
) -> float | None:
    """When a failed holder's name will be the claimant's; None when time alone does not help.

    The same rules as ``name_is_held``'s.
    """
    newer = claim.incarnation > record.incarnation
    wait_s = reclaim_wait_s(claim.meta if newer else None, config)
    return None if wait_s is None else changed_at + wait_s


def reclaim_wait_s(meta: bytes | None, config: GossipConfig) -> float | None:
    """How long after its holder's death a name goes to an agent of these tags; None: never so."""
    waits = []
    if config.dead_node_reclaim_s > 0:
        waits.append(config.dead_node_reclaim_s)
    if config.identity_reclaim_s > 0 and identity(meta, config.identity_tag):
        waits.append(config.identity_reclaim_s)
    return min(waits, default=None)


def name_is_held(
    record: NodeState, changed_at: float, claim: Alive, config: GossipConfig, now: float
) -> str:
    """Why a claim from another address may not take a name; empty when it may.

    ``record`` is the holder, in its state since ``changed_at``. Left names are free. A dead one is
    free after ``dead_node_reclaim_s`` (memberlist's DeadNodeReclaimTime), and to an agent that says
    who it is: at once when it is the holder itself at a new address, after ``identity_reclaim_s``
    when it is another. The latter need an incarnation above the dead one's, which a newcomer has
    as soon as it has refuted the news of its death; so no stale record of a former address returns.
    """
    if record.state is State.LEFT:
        return ""
    if record.state is not State.DEAD:
        return "its holder is alive at another address"
    dead_s = now - changed_at
    if 0 < config.dead_node_reclaim_s <= dead_s:
        return ""
    if config.identity_reclaim_s <= 0:
        return "its holder failed and was not forgotten yet"
    claimant = identity(claim.meta, config.identity_tag)
    if not claimant:
        return "its holder failed, and the claimant does not say which agent it is"
    if claim.incarnation <= record.incarnation:
        return "the claim is older than the holder's failure"
    holder = identity(record.meta, config.identity_tag)
    if claimant != holder and dead_s < config.identity_reclaim_s:
        return f"its holder failed less than {config.identity_reclaim_s:g} s ago"
    return ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last claim about a name that was not let in."""

    reason: str
    at: float
    times: int


class Refusals:
    """What was not let in and why, by name: a bounded memory for `explain`."""

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: dict[str, Refusal] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen)

    def get(self, name: str) -> Refusal | None:
        return self._seen.get(name)

    def add(self, name: str, reason: str, now: float) -> bool:
        """Remember; True when the name or the reason is new, and so worth a word in the log."""
        before = self._seen.pop(name, None)
        if len(self._seen) >= self._limit:
            del self._seen[next(iter(self._seen))]
        self._seen[name] = Refusal(reason, now, 1 if before is None else before.times + 1)
        return before is None or before.reason != reason

    def forget(self, name: str) -> None:
        """It was let in."""
        self._seen.pop(name, None)
