"""Keys: compare-and-set, prefixes, indexes; and a dict as the model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raftstore.commands import Applied, Command, KVDelete, KVDeleteTree, KVSet
from raftstore.config import StateLimits
from raftstore.queries import KVGet, KVKeys, KVList
from raftstore.state import StateMachine
from tests.raftstore.state.commands import KEYS


class Tree:
    def __init__(self, **limits: int) -> None:
        self.state = StateMachine(StateLimits(**limits))
        self.index = 1

    def do(self, command: Command) -> Any:
        self.index += 1
        self.state.touched()
        outcome = self.state.apply(self.index, 0.0, command)
        self.state.check()
        assert isinstance(outcome, Applied)
        return outcome.value

    def put(self, *keys: str) -> None:
        for key in keys:
            assert self.do(KVSet(key=key)) is True

    def index_of(self, query: Any) -> int:
        return self.state.answer(query).index

    def keys(self, prefix: str, separator: str = "") -> tuple[str, ...]:
        return self.state.answer(KVKeys(prefix, separator)).value


@pytest.fixture
def tree() -> Tree:
    return Tree()


def test_a_write_replaces_value_and_flags_and_keeps_the_create_index(tree):
    tree.do(KVSet(key="a", value=b"1", flags=42))
    tree.do(KVSet(key="a", value=b"2"))
    pair = tree.state.answer(KVGet("a")).value
    assert (pair.value, pair.flags, pair.create_index, pair.modify_index) == (b"2", 0, 2, 3)


def test_writing_the_same_again_raises_no_index(tree):
    tree.do(KVSet(key="a", value=b"1"))
    assert tree.do(KVSet(key="a", value=b"1")) is True
    assert tree.index_of(KVGet("a")) == 2
    assert tree.state.touched() == frozenset()


def test_comparing_with_zero_writes_only_an_absent_key(tree):
    assert tree.do(KVSet(key="a", cas=0)) is True
    assert tree.do(KVSet(key="a", value=b"2", cas=0)) is False


def test_comparing_with_an_index_writes_only_at_that_index(tree):
    assert tree.do(KVSet(key="a", cas=77)) is False
    tree.put("a")
    assert tree.do(KVSet(key="a", value=b"2", cas=3)) is True
    assert tree.do(KVSet(key="a", value=b"3", cas=3)) is False
    assert tree.state.answer(KVGet("a")).value.value == b"2"


def test_a_compared_delete_needs_the_very_index_unless_the_key_is_absent(tree):
    tree.put("a")
    assert tree.do(KVDelete(key="a", cas=0)) is False
    assert tree.do(KVDelete(key="a", cas=1)) is False
    assert tree.do(KVDelete(key="a", cas=2)) is True
    assert tree.do(KVDelete(key="a", cas=5)) is True


def test_deleting_an_absent_key_changes_nothing(tree):
    tree.put("a")
    assert tree.do(KVDelete(key="b")) is True
    assert tree.state.touched() == frozenset()
    assert tree.index_of(KVGet("b")) == 2


def test_a_prefix_takes_exactly_the_keys_below_it(tree):
    tree.put("a", "a/", "a/b", "ab", "b")
    assert tree.keys("a/") == ("a/", "a/b")
    assert tree.do(KVDeleteTree(prefix="a/")) is True
    assert tree.keys("") == ("a", "ab", "b")
    assert tree.do(KVDeleteTree(prefix="")) is True
    assert tree.keys("") == ()


def test_names_are_cut_behind_the_first_separator_after_the_prefix(tree):
    tree.put("a/b/c", "a/b/d", "a/e", "a//f", "x")
    assert tree.keys("a/", "/") == ("a//", "a/b/", "a/e")
    assert tree.keys("", "/") == ("a/", "x")
    assert tree.keys("a", "b/") == ("a//f", "a/b/", "a/e")


def test_an_unrelated_write_leaves_a_keys_index_alone(tree):
    tree.put("a", "b")
    assert tree.index_of(KVGet("a")) == 2
    assert tree.index_of(KVList("a")) == 2
    assert tree.state.touched() == {("kv", "b"), ("history", "")}


def test_an_absent_key_has_the_highest_index_of_the_tree_deletions_included(tree):
    tree.put("a")
    assert tree.index_of(KVGet("b")) == 2
    tree.do(KVDelete(key="a"))
    assert tree.index_of(KVGet("a")) == tree.index_of(KVGet("b")) == 3


def test_a_prefix_that_lost_a_key_has_the_index_of_the_loss(tree):
    tree.put("a/x", "a/y", "b")
    tree.do(KVDelete(key="a/y"))
    tree.put("c")
    assert tree.index_of(KVList("a/")) == 5
    tree.do(KVDelete(key="a/x"))
    assert tree.index_of(KVList("a/")) == 7
    tree.put("d")
    assert tree.index_of(KVList("a/")) == 7


def test_a_prefix_that_never_had_a_key_has_the_index_of_the_tree(tree):
    tree.put("a")
    assert tree.index_of(KVKeys("never")) == 2


def test_forgotten_deletions_still_count():
    tree = Tree(tombstones_max=1)
    tree.put("a/x", "a/y", "b")
    tree.do(KVDelete(key="a/y"))
    assert tree.index_of(KVList("a/")) == 5
    tree.do(KVDelete(key="b"))  # pushes the tombstone of a/y out
    assert len(tree.state.kv.tombstones) == 1
    assert tree.index_of(KVList("a/")) == 5


def test_an_index_never_runs_backwards_when_deletions_are_forgotten():
    tree = Tree(tombstones_max=1)
    tree.put("a", "b", "c")
    never = tree.index_of(KVList("never"))
    tree.do(KVDelete(key="a"))
    tree.do(KVDelete(key="b"))
    assert tree.index_of(KVList("never")) >= never
    assert tree.index_of(KVList("never")) == 6


class KVModel(RuleBasedStateMachine):
    """A dict of key to (value, flags, index)."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = Tree(tombstones_max=2)
        self.model: dict[str, tuple[bytes, int, int]] = {}

    def held(self, key: str, back: int | None) -> bool:
        """Whether a comparison ``back`` from the key's index holds."""
        return back is None or back == 0

    def compare(self, key: str, back: int | None) -> int | None:
        return None if back is None else (self.model[key][2] if key in self.model else 0) + back

    @rule(
        key=st.sampled_from(KEYS),
        value=st.sampled_from([b"", b"1"]),
        flags=st.sampled_from([0, 1]),
        back=st.sampled_from([None, 0, 1]),
    )
    def put(self, key: str, value: bytes, flags: int, back: int | None) -> None:
        cas = self.compare(key, back)
        done = self.tree.do(KVSet(key=key, value=value, flags=flags, cas=cas))
        assert done is self.held(key, back)
        if done and self.model.get(key, (None, None))[:2] != (value, flags):
            self.model[key] = (value, flags, self.tree.index)

    @rule(key=st.sampled_from(KEYS), back=st.sampled_from([None, 0, 1]))
    def delete(self, key: str, back: int | None) -> None:
        done = self.tree.do(KVDelete(key=key, cas=self.compare(key, back)))
        assert done is (key not in self.model or self.held(key, back))
        if done:
            self.model.pop(key, None)

    @rule(prefix=st.sampled_from(KEYS))
    def delete_tree(self, prefix: str) -> None:
        self.tree.do(KVDeleteTree(prefix=prefix))
        self.model = {k: v for k, v in self.model.items() if not k.startswith(prefix)}

    @invariant()
    def all_reads_are_as_the_model_says(self) -> None:
        for prefix in KEYS:
            below = sorted(key for key in self.model if key.startswith(prefix))
            pairs = self.tree.state.answer(KVList(prefix)).value
            assert [(p.key, (p.value, p.flags, p.modify_index)) for p in pairs] == [
                (key, self.model[key]) for key in below
            ]
            assert self.tree.keys(prefix) == tuple(below)
            found = self.tree.state.answer(KVGet(prefix)).value
            assert (found is not None) == (prefix in self.model)


KVModel.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestKVModel = KVModel.TestCase
