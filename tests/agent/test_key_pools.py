"""Reports of two pools: counts, names and errors of each are its own."""

from __future__ import annotations

from agent.key_pools import pools, problems
from gossip import KeyOperation, KeyReport, MemberKeys

LIST, USE = KeyOperation.LIST, KeyOperation.USE


def report(operation: KeyOperation, members: tuple[str, ...], **parts: object) -> KeyReport:
    whole: dict[str, object] = {
        "operation": operation,
        "members": members,
        "done": frozenset(),
        "failed": {},
        "silent": {},
        "changed": False,
    }
    return KeyReport(**(whole | parts))  # type: ignore[arg-type]


def holding(*names: str) -> KeyReport:
    held = {name: MemberKeys(keys=("k", name), primary="k") for name in names}
    return report(LIST, names, held=held, done=frozenset(names))


def test_each_pool_counts_its_own_members() -> None:
    wan, lan = pools(holding("a", "b", "c"), holding("b.east", "x.west"), "east")
    assert (wan.nodes, wan.keys) == (2, {"b.east": 1, "k": 2, "x.west": 1})
    assert wan.primary_keys == {"k": 2}
    assert (lan.nodes, lan.keys) == (3, {"a": 1, "b": 1, "c": 1, "k": 3})
    assert (wan.title, lan.title) == ("WAN", "east (LAN)")
    assert problems((wan, lan)) == []


def test_who_is_in_no_pool_of_servers_shows_none() -> None:
    assert [pool.wan for pool in pools(holding("a"), None, "east")] == [False]


def test_what_went_wrong_is_said_in_the_pools_it_concerns() -> None:
    fine = report(USE, ("b.east",), done=frozenset({"b.east"}), changed=True)
    found = pools(report(USE, ("a", "b"), failed={"a": "lacks it"}), fine, "east")
    assert problems(found) == [
        "east (LAN) error: 1/2 nodes reported failure, nothing was changed",
        "a: lacks it",
    ]
    silent = report(USE, ("b.east",), silent={"b.east": "no answer"}, changed=True)
    partly = report(USE, ("a", "b"), silent={"b": "no answer"}, changed=True, done=frozenset("a"))
    assert problems(pools(partly, silent, "east")) == [
        "WAN error: 0/1 nodes reported success",
        "b.east: no answer",
        "east (LAN) error: 1/2 nodes reported success",
        "b: no answer",
    ]
