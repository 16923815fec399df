"""What the journal keeps and forgets, and what a record weighs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore import records, rows
from raftstore.codec import codec_for
from raftstore.config import StateLimits
from raftstore.errors import NotInHistory
from raftstore.queries import At
from raftstore.records import KVPair, Service
from raftstore.state.history import History, weigh
from tests.strategies import long_examples, values_of

RECORDS = [
    kind
    for kind in vars(records).values()
    if isinstance(kind, type) and kind.__module__ == records.__name__
]


def journal(limits: StateLimits, writes: list[int]) -> History:
    """A journal of writes that replaced values of these sizes."""
    history = History(limits)
    for index, size in enumerate(writes, start=1):
        before = KVPair(key="k", value=b"x" * size)
        history.add(index, float(index), None, 3, [("kv", "k", before, before)])
        history.check()
    return history


@given(writes=st.lists(st.integers(0, 3000), max_size=60))
def test_it_keeps_the_newest_within_both_bounds(writes):
    limits = StateLimits(history_entries_max=32, history_bytes_max=16_000)
    history = journal(limits, writes)
    kept = [change[0] for change in history.rows()]
    assert kept == list(range(history.floor + 1, len(writes) + 1))
    assert len(history) <= 32 and history.weight <= 16_000
    if history.floor:  # what it forgot would not have fitted with a sixteenth to spare
        assert len(history) > 28 or sum(writes[history.floor - 1 :]) + 600 * 30 > 15_000


def test_what_is_too_large_for_it_empties_it():
    history = journal(StateLimits(history_bytes_max=10_000), [10, 10, 20_000])
    assert (len(history), history.weight, history.floor, history.index) == (0, 0, 3, 3)


def test_moments_are_resolved_or_refused():
    history = journal(StateLimits(history_entries_max=16), [1] * 20)
    floor = history.floor
    assert floor > 1
    assert history.resolve(At(), 20) == 20
    assert history.resolve(At(index=floor), 20) == floor
    assert history.resolve(At(stamp=19.5), 20) == 19
    assert history.resolve(At(stamp=99.0), 20) == 20
    assert history.resolve(At(stamp=floor + 0.5), 20) == floor
    for early in (At(index=floor - 1), At(stamp=floor - 0.5), At(index=21)):
        with pytest.raises(NotInHistory):
            history.resolve(early, 20)


# A transaction holds every kind of record: making one takes long on a busy machine.
@long_examples(8)
@given(data=st.data())
@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_a_record_weighs_the_same_on_every_server(kind, data):
    """What was decoded once more is another object of equal content."""
    codec = codec_for(kind)
    value = data.draw(values_of(kind))
    raw = codec.encode(value)
    assert weigh(value) == weigh(codec.decode(raw, bytes_max=len(raw)))


@given(data=st.data())
def test_a_record_weighs_no_less_than_its_texts(data):
    service = data.draw(values_of(Service))
    assert weigh(service) >= len(codec_for(Service).encode(service)) / 4
    long = "x" * 10_000
    for heavy in (
        Service(id=long, name=""),
        Service(id="", name="", tags=(long,)),
        Service(id="", name="", meta={"k": long}),
        Service(id="", name="", meta={long: ""}),
        Service(id="", name="", proxy=records.Proxy(config={"a": [{"b": long}]})),
    ):
        assert weigh(heavy) >= 10_000


def test_every_table_can_be_shown():
    assert set(rows.TYPES) >= {"nodes", "services", "checks", "kv", "intentions"}
    pair = KVPair(key="a", value=b"1")
    assert rows.read("kv", rows.write("kv", pair)) == pair
    assert rows.write("kv", None) is None and rows.read("kv", None) is None
