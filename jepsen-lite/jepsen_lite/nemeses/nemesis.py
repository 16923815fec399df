"""What a nemesis is, and several as one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jepsen_lite.cluster import Cluster
from jepsen_lite.targets import Place


def _whole(cluster: Cluster) -> str:
    cluster.heal()
    return "all nodes run"


def _can(_cluster: Cluster) -> str:
    return ""


def _no_environment(_place: Place) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nemesis:
    """One kind of fault.

    ``why_not`` says why it cannot be done to a cluster, "" if it can. ``environment`` is what its
    nodes must be started with.
    """

    inject: Callable[[Cluster, random.Random], str]
    heal: Callable[[Cluster], str] = _whole
    why_not: Callable[[Cluster], str] = _can
    environment: Callable[[Place], dict[str, str]] = _no_environment
    needs_network: bool = False


def nothing() -> Nemesis:
    """The run without faults, to compare with."""
    return Nemesis(inject=lambda _cluster, _rng: "nothing")


def composed(among: Mapping[str, Nemesis]) -> Nemesis:
    """Each fault is one of these, drawn by dice; healing heals all."""

    def inject(cluster: Cluster, rng: random.Random) -> str:
        name = rng.choice(sorted(among))
        return f"{name}: {among[name].inject(cluster, rng)}"

    def heal(cluster: Cluster) -> str:
        return ", ".join(dict.fromkeys(nemesis.heal(cluster) for nemesis in among.values()))

    def why_not(cluster: Cluster) -> str:
        reasons = {name: nemesis.why_not(cluster) for name, nemesis in among.items()}
        return "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)

    def environment(place: Place) -> dict[str, str]:
        merged: dict[str, str] = {}
        for nemesis in among.values():
            for name, value in nemesis.environment(place).items():
                merged[name] = f"{merged[name]}:{value}" if name in merged else value
        return merged

    return Nemesis(
        inject=inject,
        heal=heal,
        why_not=why_not,
        environment=environment,
        needs_network=any(nemesis.needs_network for nemesis in among.values()),
    )
