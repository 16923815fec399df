"""Links are cut, lose, delay, overtake and narrow. Clients still reach every node.

Between the nodes only: what a client sees of a node that is cut off is the point.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable

from jepsen_lite.cluster import Cluster
from jepsen_lite.links import WHOLE, Link
from jepsen_lite.nemeses.nemesis import Nemesis
from jepsen_lite.nemeses.processes import leader_or_any

_CUT = Link(cut=True)
#: Both directions of a link between hosts.
_Pair = tuple[int, int]


def _why_not(cluster: Cluster) -> str:
    return "" if cluster.network is not None else "wants a network of its own (see network.py)"


def _heal(cluster: Cluster) -> str:
    assert cluster.network is not None
    cluster.network.heal()
    return "all links are whole"


def _set(cluster: Cluster, pairs: Iterable[_Pair], link: Link) -> None:
    assert cluster.network is not None
    cluster.network.set([(source, target, link) for source, target in pairs])


def _both(pairs: Iterable[_Pair]) -> list[_Pair]:
    return [way for a, b in pairs for way in ((a, b), (b, a))]


def _hosts(cluster: Cluster) -> list[int]:
    return [node.place.number for node in cluster.nodes]


def _between(some: Iterable[int], others: Iterable[int]) -> list[_Pair]:
    others = list(others)
    return [(a, b) for a in some for b in others]


def _names(hosts: Iterable[int]) -> str:
    return " ".join(f"n{host}" for host in sorted(hosts))


def _halves(cluster: Cluster, rng: random.Random) -> str:
    hosts = _hosts(cluster)
    few = rng.sample(hosts, len(hosts) // 2)
    many = [host for host in hosts if host not in few]
    _set(cluster, _both(_between(few, many)), _CUT)
    return f"cut {_names(few)} from {_names(many)}"


def _isolate_leader(cluster: Cluster, rng: random.Random) -> str:
    leader = [node.place.number for node in leader_or_any(cluster, rng)]
    others = [host for host in _hosts(cluster) if host not in leader]
    _set(cluster, _both(_between(leader, others)), _CUT)
    return f"cut the leader {_names(leader)} off"


def _one_way(cluster: Cluster, rng: random.Random) -> str:
    """What the leader sends is lost, or what is sent to it."""
    leader = [node.place.number for node in leader_or_any(cluster, rng)]
    others = [host for host in _hosts(cluster) if host not in leader]
    if rng.random() < 0.5:
        _set(cluster, _between(leader, others), _CUT)
        return f"nothing of {_names(leader)} arrives"
    _set(cluster, _between(others, leader), _CUT)
    return f"nothing arrives at {_names(leader)}"


def _single_link(cluster: Cluster, rng: random.Random) -> str:
    a, b = rng.sample(_hosts(cluster), 2)
    _set(cluster, _both([(a, b)]), _CUT)
    return f"cut n{a} from n{b}"


def _ring(cluster: Cluster, rng: random.Random) -> str:
    """Each node reaches only its two neighbours; with three nodes one link is cut instead."""
    hosts = _hosts(cluster)
    if len(hosts) < 4:
        return _single_link(cluster, rng)
    rng.shuffle(hosts)
    size = len(hosts)
    apart = [
        (hosts[a], hosts[b])
        for a in range(size)
        for b in range(a + 1, size)
        if (b - a) not in (1, size - 1)
    ]
    _set(cluster, _both(apart), _CUT)
    return "ring " + "-".join(f"n{host}" for host in hosts)


def _bridge(cluster: Cluster, rng: random.Random) -> str:
    """Two halves that only one node reaches both of."""
    hosts = _hosts(cluster)
    rng.shuffle(hosts)
    middle = len(hosts) // 2
    some, others = hosts[:middle], hosts[middle + 1 :]
    _set(cluster, _both(_between(some, others)), _CUT)
    return f"only n{hosts[middle]} reaches both {_names(some)} and {_names(others)}"


class _Flapping:
    """Cuts and mends a link in short turns until it is told to end."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, cluster: Cluster, rng: random.Random) -> str:
        self.end(cluster)
        self._over.clear()
        leader = [node.place.number for node in leader_or_any(cluster, rng)]
        others = [host for host in _hosts(cluster) if host not in leader]
        pairs = _both(_between(leader, [rng.choice(others)]))
        turn_s = rng.uniform(0.1, 1.0)
        self._thread = threading.Thread(
            target=self._flap, args=(cluster, pairs, turn_s), daemon=True
        )
        self._thread.start()
        return f"link {pairs[0]} flaps every {turn_s:.2f} s"

    def _flap(self, cluster: Cluster, pairs: list[_Pair], turn_s: float) -> None:
        link = _CUT
        while not self._over.wait(turn_s):
            _set(cluster, pairs, link)
            link = WHOLE if link is _CUT else _CUT

    def end(self, cluster: Cluster) -> str:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return _heal(cluster)


def _all_links(cluster: Cluster) -> list[_Pair]:
    hosts = _hosts(cluster)
    return [(a, b) for a in hosts for b in hosts if a != b]


def _loss(cluster: Cluster, rng: random.Random) -> str:
    share = rng.uniform(0.05, 0.3)
    _set(cluster, _all_links(cluster), Link(loss=share))
    return f"{share:.0%} of all packets between nodes are lost"


def _delay(cluster: Cluster, rng: random.Random) -> str:
    """One direction only, so that acknowledgements are old."""
    delay_s = rng.uniform(0.05, 0.5)
    slow = rng.choice(_hosts(cluster))
    others = [host for host in _hosts(cluster) if host != slow]
    _set(cluster, _between([slow], others), Link(delay_s=delay_s))
    return f"what n{slow} sends arrives {delay_s * 1000:.0f} ms late"


def _reorder(cluster: Cluster, rng: random.Random) -> str:
    jitter_s = rng.uniform(0.01, 0.1)
    _set(cluster, _all_links(cluster), Link(jitter_s=jitter_s))
    return f"packets overtake each other within {jitter_s * 1000:.0f} ms"


def _slow_follower(cluster: Cluster, rng: random.Random) -> str:
    leader = cluster.leader()
    followers = [node.place.number for node in cluster.nodes if node is not leader]
    slow = rng.choice(followers)
    others = [host for host in _hosts(cluster) if host != slow]
    _set(cluster, _both(_between([slow], others)), Link(bytes_per_s=125_000))
    return f"1 Mbit/s for n{slow}"


_flapping = _Flapping()


def _nemesis(inject: object) -> Nemesis:
    assert callable(inject)
    return Nemesis(inject=inject, heal=_heal, why_not=_why_not, needs_network=True)


HALVES = _nemesis(_halves)
ISOLATE_LEADER = _nemesis(_isolate_leader)
ONE_WAY = _nemesis(_one_way)
SINGLE_LINK = _nemesis(_single_link)
RING = _nemesis(_ring)
BRIDGE = _nemesis(_bridge)
FLAP = Nemesis(inject=_flapping.begin, heal=_flapping.end, why_not=_why_not, needs_network=True)
LOSS = _nemesis(_loss)
DELAY = _nemesis(_delay)
REORDER = _nemesis(_reorder)
SLOW_FOLLOWER = _nemesis(_slow_follower)
