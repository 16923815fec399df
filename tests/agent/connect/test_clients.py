"""What agents tell each other of the connections into their sidecars."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.connect.clients import ANSWER_BYTES_MAX, Standing, packed, read, wanted

NAMES = st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), min_size=1)
STANDINGS = st.builds(
    Standing,
    source=NAMES,
    destination=NAMES,
    node=st.just("n1"),
    connections=st.integers(0, 10**9),
    http=st.integers(0, 10**9),
)


@given(st.lists(STANDINGS, max_size=60), st.integers(0, ANSWER_BYTES_MAX))
def test_an_answer_fits_and_what_is_left_out_is_the_least_and_is_told(standings, bytes_max):
    answer = packed(standings, bytes_max)
    assert len(answer) <= max(bytes_max, 1)
    found, more = read(answer, "n1")
    assert more is (len(found) < len(standings))
    key = lambda each: -each.connections - each.http  # noqa: E731
    assert sorted(map(key, found)) == sorted(map(key, standings))[: len(found)]
    assert set(found) <= set(standings)


@given(st.binary(max_size=300))
def test_whatever_a_member_answers_is_read_or_left_out(payload):
    found, _ = read(payload, "n1")
    assert all(each.node == "n1" and each.source and each.destination for each in found)


def test_a_query_names_a_pair():
    assert wanted(b"web\tdb") == ("web", "db")
    for wrong in (b"", b"web", b"web\t", b"\tdb", b"a\tb\tc", b"\xff\tdb"):
        assert wanted(wrong) is None
