"""A link does to each packet what it was told, in its own direction only."""

import random

from hypothesis import given
from hypothesis import strategies as st

from jepsen_lite.links import Link, Links, as_json


def links(**of: float | bool) -> Links:
    made = Links(random.Random(1))
    made.set(1, 2, Link(**of))  # type: ignore[arg-type]
    return made


def test_a_cut_has_a_direction() -> None:
    cut = links(cut=True)
    assert cut.deliver_at(5.0, 1, 2, 100) is None
    assert cut.deliver_at(5.0, 2, 1, 100) == 5.0
    cut.clear()
    assert cut.deliver_at(5.0, 1, 2, 100) == 5.0


def test_the_share_that_is_lost_is_the_one_asked_for() -> None:
    lossy = links(loss=0.3)
    lost = sum(lossy.deliver_at(0.0, 1, 2, 100) is None for _ in range(5000))
    assert 1300 < lost < 1700


def test_jitter_lets_packets_overtake_each_other() -> None:
    late = links(delay_s=0.1, jitter_s=0.1)
    times = [late.deliver_at(n / 1000, 1, 2, 100) or 0.0 for n in range(100)]
    assert all(n / 1000 + 0.1 <= at <= n / 1000 + 0.2 for n, at in enumerate(times))
    assert times != sorted(times)


def test_a_narrow_link_takes_one_packet_after_the_other() -> None:
    narrow = links(bytes_per_s=1000)
    assert [narrow.deliver_at(0.0, 1, 2, 500) for _ in range(3)] == [0.5, 1.0, 1.5]
    assert narrow.deliver_at(10.0, 1, 2, 500) == 10.5


@given(
    st.builds(
        Link,
        cut=st.booleans(),
        loss=st.floats(0, 1),
        delay_s=st.floats(0, 9),
        jitter_s=st.floats(0, 9),
        bytes_per_s=st.floats(0, 1e9),
    )
)
def test_a_link_survives_the_way_to_the_switch(link: Link) -> None:
    assert Link(**as_json(link)) == link  # type: ignore[arg-type]
