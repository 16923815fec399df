"""One report as two pools: counts, names and errors of each are its own."""

from __future__ import annotations

from agent.key_pools import pools, problems
from gossip import KeyOperation, KeyReport, MemberKeys

LIST, USE = KeyOperation.LIST, KeyOperation.USE


def report(operation: KeyOperation, members: str, **parts: object) -> KeyReport:
    whole: dict[str, object] = {
        "operation": operation,
        "members": tuple(members),
        "done": frozenset(),
        "failed": {},
        "silent": {},
        "changed": False,
    }
    return KeyReport(**(whole | parts))  # type: ignore[arg-type]


def test_only_servers_are_in_the_wan_pool() -> None:
    held = {name: MemberKeys(keys=("k", name), primary="k") for name in "abc"}
    wan, lan = pools(report(LIST, "abc", held=held, done=frozenset("abc")), {"b", "x"}, "east")
    assert (wan.nodes, wan.keys, wan.primary_keys) == (1, {"b": 1, "k": 1}, {"k": 1})
    assert (lan.nodes, lan.keys) == (3, {"a": 1, "b": 1, "c": 1, "k": 3})
    assert (wan.title, lan.title) == ("WAN", "east (LAN)")
    assert problems((wan, lan)) == []


def test_a_pool_without_members_is_not_shown() -> None:
    assert [pool.wan for pool in pools(report(LIST, "a"), (), "east")] == [False]


def test_what_went_wrong_is_said_in_the_pools_it_concerns() -> None:
    found = pools(report(USE, "ab", failed={"a": "lacks it"}), {"b"}, "east")
    assert problems(found) == [
        "east (LAN) error: 1/2 nodes reported failure, nothing was changed",
        "a: lacks it",
    ]
    partly = report(USE, "ab", silent={"b": "no answer"}, changed=True, done=frozenset("a"))
    assert problems(pools(partly, {"b"}, "east")) == [
        "WAN error: 0/1 nodes reported success",
        "b.east: no answer",
        "east (LAN) error: 1/2 nodes reported success",
        "b: no answer",
    ]
