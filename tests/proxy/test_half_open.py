"""Who makes way for whom, and who is next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.half_open import HalfOpen, Turns, site


def test_whoever_has_the_most_makes_way_with_its_oldest() -> None:
    room: HalfOpen[str] = HalfOpen()
    for at, (who, source) in enumerate([("a1", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")]):
        assert room.enter(who, source, float(at), 4) is None
    assert room.enter("c2", "c", 4.0, 4) == "b1"
    assert room.enter("c3", "c", 5.0, 4) == "c1"
    assert (room.oldest_at, dict(room.sources())) == (0.0, {"a": 1, "b": 1, "c": 2})
    assert room.overdue(2.5) == ["a1", "b2"]
    assert not room.leave("a1") and room.leave("c2") and room.leave("c3")
    assert (len(room), room.oldest_at) == (0, None)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60),
    st.integers(min_value=1, max_value=6),
)
def test_there_are_never_more_and_the_few_of_a_source_stay(
    came: list[tuple[str, bool]], most: int
) -> None:
    room: HalfOpen[int] = HalfOpen()
    of: dict[int, str] = {}
    for number, (source, leaves) in enumerate(came):
        if leaves and of:
            gone = next(iter(of))
            assert room.leave(gone)
            del of[gone]
        before = dict(room.sources())
        displaced = room.enter(number, source, float(number), most)
        of[number] = source
        if displaced is not None:
            theirs = [who for who, its in of.items() if its == of[displaced]]
            assert displaced == theirs[0]
            assert len(theirs) == max({**before, source: before.get(source, 0) + 1}.values())
            del of[displaced]
        assert len(room) == len(of) <= most
        assert room.oldest_at == min(map(float, of))
    assert room.overdue(1e9) == list(of) and len(room) == 0


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_sources_take_turns_each_in_its_own_order(came: list[str]) -> None:
    turns: Turns[tuple[str, int]] = Turns()
    for number, source in enumerate(came):
        turns.put((source, number), source)
    taken = []
    while (found := turns.take()) is not None:
        taken.append(found)
    assert sorted(number for _, number in taken) == list(range(len(came)))
    for source in set(came):
        own = [number for its, number in taken if its == source]
        assert own == sorted(own)
        first = [its for its, _ in taken].index(source)
        assert first < len(set(came)), "nobody waits for more than one of each other source"


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("fe80::1%eth0", "fe80::/64"),
     ("2001:db8::5", "2001:db8::/64"), ("odd:", "odd:")],
)  # fmt: skip
def test_a_source_is_an_address_or_the_network_of_a_host(address: str, expected: str) -> None:
    assert site(address) == expected
