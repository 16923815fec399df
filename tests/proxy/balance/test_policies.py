"""What each policy promises, whatever hosts come and go."""

import gc
import random
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.balance.adaptive import Adaptive, Fit
from proxy.balance.ewma import PENALTY_S, PeakEWMA
from proxy.balance.hashed import Maglev, RingHash
from proxy.balance.hosts import Host, Policy
from proxy.balance.least import LeastConnections, LeastRequest
from proxy.balance.turns import Random, WeightedRoundRobin
from proxy.balance.xxh64 import xxh64
from tests.proxy.balance.simulated import hosts

ALL = (WeightedRoundRobin, Random, LeastRequest, LeastConnections, PeakEWMA, Adaptive, RingHash)


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_only_hosts_that_are_there_weighed_and_not_tried_are_chosen(make, data) -> None:
    policy: Policy = make()
    rng = random.Random(data.draw(st.integers(0, 1 << 32)))
    under_way: list[Host] = []
    now = 0.0
    among: list[Host] = []
    for _ in range(data.draw(st.integers(1, 30))):
        now += rng.random()
        if rng.random() < 0.2 or not among:
            among = [h for h in hosts(6, [0, 1, 2, 0.5, 1, 3]) if rng.random() < 0.7]
            policy.update(among, now)
        excluded = [host for host in among if rng.random() < 0.3]
        value = rng.choice([None, rng.getrandbits(64)])
        chosen = policy.pick(now, rng, hash_value=value, excluded=excluded)
        possible = [host for host in among if host.weight > 0 and host not in excluded]
        if chosen is None:
            assert not possible
            continue
        assert chosen in possible
        policy.started(chosen, now)
        under_way.append(chosen)
        if rng.random() < 0.7:
            ended = under_way.pop(rng.randrange(len(under_way)))
            policy.finished(ended, now, rng.random(), rng.random() < 0.1)


def test_turns_by_weight_are_smooth_and_exact() -> None:
    policy, rng = WeightedRoundRobin(), random.Random(1)
    policy.update(hosts(3, [5, 1, 1]), 0.0)
    picks = [policy.pick(0.0, rng) for _ in range(21)]
    names = "".join("abc"[int(host.key[0][1:])] for host in picks if host)
    assert names[:7] == "aabacaa"
    for at in range(15):
        assert Counter(names[at : at + 7]) == {"a": 5, "b": 1, "c": 1}


def test_equal_hosts_take_exactly_equal_turns() -> None:
    policy, rng = WeightedRoundRobin(), random.Random(1)
    policy.update(hosts(7), 0.0)
    assert set(Counter(policy.pick(0.0, rng) for _ in range(7 * 50)).values()) == {50}


def test_random_goes_by_weight() -> None:
    """Chi-square at 1 % with two degrees of freedom."""
    policy, rng = Random(), random.Random(5)
    policy.update(hosts(3, [1, 2, 5]), 0.0)
    seen = Counter(policy.pick(0.0, rng).weight for _ in range(8000))
    off = sum((seen[w] - 1000 * w) ** 2 / (1000 * w) for w in (1, 2, 5))
    assert off < 9.21


def test_one_choice_is_none() -> None:
    with pytest.raises(ValueError, match="at least 2 choices"):
        LeastRequest(1)


def test_the_less_busy_host_is_taken() -> None:
    policy, rng = LeastConnections(), random.Random(1)
    among = hosts(4)
    policy.update(among, 0.0)
    for host in among[:3]:
        policy.started(host, 0.0)
    assert policy.pick(0.0, rng) == among[3]
    policy.finished(among[1], 1.0, 1.0, False)
    policy.started(among[3], 1.0)
    assert policy.pick(0.0, rng) == among[1]


def test_a_peak_is_believed_at_once_and_forgotten_slowly() -> None:
    policy = PeakEWMA()
    host, other = hosts(2)
    policy.update([host, other], 0.0)
    for each in (host, other):
        policy.started(each, 0.0)
        policy.finished(each, 0.1, 0.1, False)
    assert policy.cost(host, 0.1) == pytest.approx(0.1)
    policy.started(host, 0.2)
    policy.finished(host, 2.2, 2.0, False)
    assert policy.cost(host, 2.2) == pytest.approx(2.0)
    assert policy.cost(host, 12.2) == pytest.approx(2.0 / 2.718, rel=0.01)
    policy.update([host, other, hosts(3)[2]], 12.2)
    middle = sorted(policy.cost(each, 12.2) for each in hosts(3))
    assert policy.cost(hosts(3)[2], 12.2) == pytest.approx(middle[1])


@pytest.mark.parametrize("make", [PeakEWMA, Adaptive], ids=["p2c", "adaptive"])
def test_a_host_that_fails_fast_is_not_taken_for_a_fast_one(make) -> None:
    policy, rng, now = make(), random.Random(3), 0.0
    among = hosts(5)
    policy.update(among, now)
    bad, picks = among[0], Counter()
    for turn in range(4000):
        now += 0.001
        host = policy.pick(now, rng)
        policy.started(host, now)
        failing = host == bad and now > 2.0
        policy.finished(host, now, 0.001 if failing else 0.02, failing)
        if now > 3.0:
            picks[host] += 1
        assert turn >= 0
    assert picks[bad] / sum(picks.values()) < 0.05
    assert PENALTY_S > 1


@pytest.mark.parametrize("seed", range(20))
def test_a_host_whose_first_request_was_slow_is_asked_again_soon(seed: int) -> None:
    policy, rng, now = Adaptive(), random.Random(seed), 0.0
    policy.update(hosts(2), now)
    picks: list[Host] = []
    for _ in range(400):
        host = policy.pick(now, rng)
        assert host is not None
        policy.started(host, now)
        latency_s = 0.002 if picks else 1.0
        now += latency_s
        policy.finished(host, now, latency_s, False)
        picks.append(host)
    assert picks.index(picks[0], 1) < 150, "one slow request is no reason to leave a host alone"


@pytest.mark.parametrize("seed", range(20))
def test_two_hosts_that_are_alike_share_the_requests_of_a_quiet_hour(seed: int) -> None:
    policy, rng, now = Adaptive(), random.Random(seed), 0.0
    policy.update(hosts(2), now)
    picks: Counter[Host] = Counter()
    for turn in range(1500):
        host = policy.pick(now, rng)
        assert host is not None
        policy.started(host, now)
        latency_s = rng.uniform(0.0018, 0.0022)
        policy.finished(host, now + latency_s, latency_s, False)
        now += 0.1
        if turn >= 500:
            picks[host] += 1
    assert min(picks.values()) > 250


def test_a_fit_finds_the_line() -> None:
    fit, rng = Fit(), random.Random(2)
    for turn in range(400):
        active = rng.randint(1, 20)
        fit.add(active, 0.02 * active + 0.3, turn / 100)
    slope, intercept = fit.line()
    assert slope == pytest.approx(0.02, rel=1e-3)
    assert intercept == pytest.approx(0.3, rel=1e-3)
    flat = Fit()
    flat.add(4, 0.2, 0.0)
    assert flat.line() == pytest.approx((0.05, 0.0))


@pytest.mark.parametrize(
    ("data", "seed", "value"),
    [
        (b"", 0, 0xEF46DB3751D8E999),
        (b"a", 0, 0xD24EC4F1A98C6E5B),
        (b"abc", 0, 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
    ],
)
def test_hashes_are_those_of_the_specification(data: bytes, seed: int, value: int) -> None:
    assert xxh64(data, seed) == value


@pytest.mark.parametrize(
    ("make", "slack"), [(RingHash, 0.05), (Maglev, 0.03)], ids=["ring", "maglev"]
)
def test_few_keys_move_when_a_host_goes(make, slack: float) -> None:
    policy, rng, count = make(), random.Random(1), 10
    among = hosts(count)
    keys = [xxh64(str(n).encode()) for n in range(3000)]
    renewed(policy, among)
    before = [policy.pick(0.0, rng, hash_value=key) for key in keys]
    renewed(policy, among[1:])
    after = [policy.pick(0.0, rng, hash_value=key) for key in keys]
    moved = sum(a != b for a, b in zip(before, after, strict=True)) / len(keys)
    assert moved <= 1 / count + slack
    stayed = [b for a, b in zip(before, after, strict=True) if a != among[0]]
    assert stayed


def renewed(policy: Policy, among: list[Host]) -> None:
    policy.update(among, 0.0)
    while policy.advance():
        pass


@pytest.mark.parametrize("make", [RingHash, Maglev], ids=["ring", "maglev"])
def test_while_a_table_is_made_requests_stay_where_they_can(make) -> None:
    policy, rng, among = make(), random.Random(1), hosts(5)
    policy.update(among, 0.0)
    assert policy.advance()  # there is more to do
    assert {policy.pick(0.0, rng, hash_value=key) for key in range(200)} == set(among)
    renewed(policy, among)
    before = {key: policy.pick(0.0, rng, hash_value=key << 40) for key in range(200)}
    policy.update(among[1:], 0.0)
    for key, host in before.items():
        now = policy.pick(0.0, rng, hash_value=key << 40)
        assert now == host if host != among[0] else now in among[1:]


@pytest.mark.parametrize("make", [RingHash, Maglev], ids=["ring", "maglev"])
def test_a_slice_of_a_table_is_short(make) -> None:
    policy = make()
    policy.update(hosts(40), 0.0)
    longest, more = 0.0, True
    gc.disable()  # a pass over all that the tests before have left takes longer
    try:
        while more:
            began = time.process_time()
            more = policy.advance()
            longest = max(longest, time.process_time() - began)
    finally:
        gc.enable()
    assert longest < 0.03  # a few milliseconds, and room for a slow and busy machine


def test_maglev_is_even_and_goes_by_weight() -> None:
    from proxy.balance.hashed import TABLE, maglev_table

    names = [f"host{n}".encode() for n in range(8)]
    even = Counter(maglev_table(names, [1.0] * 8))
    assert max(even.values()) / min(even.values()) <= 1.1
    assert sum(even.values()) == TABLE
    heavy = Counter(maglev_table(names[:2], [1.0, 3.0]))
    assert heavy[1] / heavy[0] == pytest.approx(3.0, rel=0.02)


def test_a_retry_of_a_hashed_request_goes_elsewhere_always_the_same() -> None:
    policy, rng = RingHash(), random.Random(1)
    renewed(policy, hosts(5))
    first = policy.pick(0.0, rng, hash_value=77)
    second = {policy.pick(0.0, rng, hash_value=77, excluded=[first]) for _ in range(10)}
    assert len(second) == 1
    assert first not in second
