"""What agents tell each other of the connections into their sidecars."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.connect.clients import ANSWER_BYTES_MAX, Counts, Wanted, packed, read, wanted

NAMES = st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), min_size=1)
COUNTS = st.builds(
    Counts,
    source=NAMES,
    destination=NAMES,
    node=st.just("n1"),
    first=st.integers(0, 10**9),
    second=st.integers(0, 10**9),
)


@given(st.lists(COUNTS, max_size=60), st.integers(0, ANSWER_BYTES_MAX))
def test_an_answer_fits_and_what_is_left_out_is_the_least_and_is_told(counts, bytes_max):
    answer = packed(counts, bytes_max)
    assert len(answer) <= max(bytes_max, 1)
    found, more = read(answer, "n1")
    assert more is (len(found) < len(counts))
    key = lambda each: -each.first - each.second  # noqa: E731
    assert sorted(map(key, found)) == sorted(map(key, counts))[: len(found)]
    assert set(found) <= set(counts)


@given(st.binary(max_size=300))
def test_whatever_a_member_answers_is_read_or_left_out(payload):
    found, _ = read(payload, "n1")
    assert all(each.node == "n1" and each.source and each.destination for each in found)


@given(NAMES, NAMES, st.none() | st.integers(0, 10**9 - 1))
def test_a_query_names_a_pair_and_may_name_a_time(source, destination, since_s):
    asked = Wanted(source, destination, since_s)
    assert wanted(asked.payload()) == asked
    for wrong in (b"", b"web", b"web\t", b"\tdb", b"a\tb\tc", b"a\tb\t-1", b"a\tb\t1\t2",
                  b"a\tb\t1234567890", b"a\tb\t", b"\xff\tdb"):  # fmt: skip
        assert wanted(wrong) is None
