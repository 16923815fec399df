"""Places of one application take turns by weight, and each has the others behind it."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxy.places import Places
from proxy.source import AppAddress


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6))
def test_each_gets_what_it_weighs(weights: list[int]) -> None:
    others = tuple((f"10.0.0.{n}", n) for n in range(1, len(weights)))
    app = AppAddress("10.0.0.0", 0, others=others, weights=tuple(weights))
    places = Places(random.Random(1))
    seen = Counter(places.next(app).port for _ in range(2 * sum(weights)))
    assert [seen[at] for at in range(len(weights))] == [2 * weight for weight in weights]
    one = places.next(app)
    assert {(one.address, one.port), *one.others} == {("10.0.0.0", 0), *others}


def test_without_weights_they_take_turns_and_a_change_begins_anew() -> None:
    app = AppAddress("a.example", 1, others=(("b.example", 2), ("10.0.0.3", 3)), host="a.example")
    places = Places(random.Random(1))
    assert {places.next(app).port for _ in range(3)} == {1, 2, 3}
    assert {places.next(app).host for _ in range(3)} == {"a.example", "b.example"}
    alone = AppAddress("c.example", 4)
    assert places.next(alone) is alone
    assert {places.next(AppAddress("d", 5, others=(("e", 6),))).port for _ in range(1)} == {5}
