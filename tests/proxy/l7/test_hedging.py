"""When a second request is sent."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.l7.hedging import SAMPLES_MIN, Latencies, after_s
from proxy.l7.settings import Hedging


def test_only_what_changes_nothing_and_only_with_enough_samples() -> None:
    latencies = Latencies()
    hedging = Hedging(percentile=0.9)
    assert after_s(hedging, "GET", latencies) is None
    for number in range(100):
        latencies.add(number / 100)
    assert after_s(hedging, "GET", latencies) == 0.9
    assert after_s(hedging, "POST", latencies) is None
    assert after_s(None, "GET", latencies) is None
    assert after_s(Hedging(after_s=0.2), "HEAD", Latencies()) == 0.2


@given(st.lists(st.floats(0, 100), min_size=SAMPLES_MIN, max_size=600), st.floats(0.01, 0.99))
def test_the_percentile_is_one_of_the_samples_and_grows(samples: list[float], share: float) -> None:
    latencies = Latencies()
    for each in samples:
        latencies.add(each)
    low, high = latencies.percentile_s(share / 2), latencies.percentile_s(share)
    assert low is not None
    assert high is not None
    assert low <= high
    assert high in samples
