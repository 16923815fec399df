"""A record with some fields changed is what dataclasses.replace makes of it."""

from __future__ import annotations

import dataclasses

import pytest

from raftstore.records import Check, KVPair, Node, Service, Weights, replace, same_content

RECORDS = [
    Node(name="n", address="10.0.0.1", meta={"a": "b"}),
    Service(id="s", name="web", tags=("a",), weights=Weights(3, 1)),
    Check(id="c", status="passing", definition={"x": 1}),
    KVPair(key="k", value=b"v", flags=3),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_copy_has_the_changes_and_all_the_rest(record):
    before = dataclasses.asdict(record)
    changed = replace(record, modify_index=9)
    assert changed == dataclasses.replace(record, modify_index=9) != record
    assert replace(changed, modify_index=0) == record
    assert dataclasses.asdict(record) == before
    assert same_content(changed, record)
    assert not same_content(changed, replace(RECORDS[3], key="other"))


def test_a_field_that_is_none_is_refused():
    with pytest.raises(AttributeError):
        replace(RECORDS[0], nonsense=1)
