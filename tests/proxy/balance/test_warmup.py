"""New hosts get their weight step by step."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.balance.hosts import Host
from proxy.balance.warmup import FIRST_SHARE, Warmup


def host(name: str, weight: float = 1.0) -> Host:
    return Host((name, name), name, 1, weight)


def test_the_first_hosts_are_warm_and_later_ones_grow() -> None:
    warmup = Warmup(10.0)
    warmup.update([host("a")], 0.0)
    warmup.update([host("a"), host("b", 2.0)], 100.0)
    hosts = [host("a"), host("b", 2.0)]
    assert [h.weight for h in warmup.weighted(hosts, 100.0)] == [1.0, 2.0 * FIRST_SHARE]
    assert [h.weight for h in warmup.weighted(hosts, 105.0)] == [1.0, 1.0]
    assert [h.weight for h in warmup.weighted(hosts, 110.0)] == [1.0, 2.0]
    assert warmup.due(100.1)
    assert not warmup.due(100.2)
    assert warmup.due(130.0)
    assert not warmup.due(200.0), "everybody is warm"


@given(st.lists(st.sets(st.sampled_from("abcd")), max_size=20))
def test_weights_are_between_a_tenth_and_all(steps: list[set[str]]) -> None:
    warmup = Warmup(3.0)
    for now, names in enumerate(steps):
        hosts = [host(name) for name in sorted(names)]
        warmup.update(hosts, float(now))
        for each in warmup.weighted(hosts, float(now)):
            assert FIRST_SHARE <= each.weight <= 1.0
