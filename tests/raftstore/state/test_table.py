"""A table of records against a plain dictionary."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from raftstore.definitions import ACLToken
from raftstore.state.table import Table
from raftstore.state.tables import Indexes

KEYS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.tuples(st.booleans(), KEYS, st.sampled_from(["", "m"]), st.sampled_from([None, 1.0, 2.0])),
    max_size=20,
)


def make(indexes: Indexes) -> Table[ACLToken]:
    return Table(
        "t",
        indexes,
        key=lambda token: token.accessor,
        groups={"method": lambda t: (t.auth_method,) if t.auth_method else ()},
        due_at=lambda token: token.expires_at,
    )


@given(steps=STEPS)
def test_it_does_what_a_dictionary_does(steps):
    indexes = Indexes()
    table = make(indexes)
    model: dict[str, tuple[str, float | None, int]] = {}
    last: dict[Any, int] = {}
    for index, (write, key, method, due) in enumerate(steps, start=1):
        if write:
            changed = model.get(key, (None, None, 0))[:2] != (method, due)
            table.put(index, ACLToken(accessor=key, auth_method=method, expires_at=due))
            if changed or key not in model:
                model[key] = (method, due, index)
        else:
            assert table.remove(index, key) is (True if model.pop(key, None) else None)
        table.check()
        assert {t.accessor: (t.auth_method, t.expires_at, t.modify_index) for t in table.all()} == (
            model
        )
        members = sorted(k for k, (m, _, _) in model.items() if m == "m")
        assert [t.accessor for t in table.group("method", "m")] == members
        dated = sorted((d, k) for k, (_, d, _) in model.items() if d is not None and d <= 1.0)
        assert [t.accessor for t in table.due(1.0, 9)] == [k for _, k in dated]
        for footprint in (("t", ""), ("t", key), ("t:method", "m"), ("t", "never")):
            now = table.index_of(footprint)
            assert last.get(footprint, 0) <= now <= index, "an index ran backwards"
            last[footprint] = now


def test_only_what_changed_is_touched():
    indexes = Indexes()
    table = make(indexes)
    table.put(1, ACLToken(accessor="a", auth_method="m"))
    assert indexes.drain() == {("t", ""), ("t", "a"), ("t:method", "m")}
    table.put(2, ACLToken(accessor="a", auth_method="m"))
    assert indexes.drain() == frozenset()
    table.put(3, ACLToken(accessor="b"))
    assert indexes.drain() == {("t", ""), ("t", "b")}
    assert table.index_of(("t", "a")) == table.index_of(("t:method", "m")) == 1


def test_a_comparison_that_fails_writes_nothing():
    table = make(Indexes())
    assert table.put(4, ACLToken(accessor="a"), cas=1) is False
    assert table.put(5, ACLToken(accessor="a"), cas=0) is True
    assert table.put(6, ACLToken(accessor="a", auth_method="m"), cas=4) is False
    assert table.remove(7, "a", cas=4) is False
    assert table.remove(8, "a", cas=5) is True
