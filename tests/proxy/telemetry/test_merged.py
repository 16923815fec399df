"""What several workers count, told as one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry import merged

ONE = """# TYPE lictor_proxy_requests_total counter
lictor_proxy_requests_total{service="a b",code="200"} 3
# TYPE lictor_proxy_leaf_expiry_seconds gauge
lictor_proxy_leaf_expiry_seconds{service="a"} 7.5
# TYPE lictor_proxy_workers gauge
lictor_proxy_workers{service="a"} 1
"""


def test_counts_are_added_and_what_all_know_is_told_once() -> None:
    other = ONE.replace("} 3", "} 4").replace("} 7.5", "} 6.25").replace('"200"', '"500"')
    assert merged.metrics([ONE, ONE, other]).splitlines() == [
        "# TYPE lictor_proxy_requests_total counter",
        'lictor_proxy_requests_total{service="a b",code="200"} 6',
        'lictor_proxy_requests_total{service="a b",code="500"} 4',
        "# TYPE lictor_proxy_leaf_expiry_seconds gauge",
        'lictor_proxy_leaf_expiry_seconds{service="a"} 6.25',
        "# TYPE lictor_proxy_workers gauge",
        'lictor_proxy_workers{service="a"} 3',
    ]
    assert merged.metrics([ONE]) == ONE


COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 1 << 50), min_size=1)


@given(st.lists(COUNTS, min_size=1, max_size=4))
def test_sums_are_those_of_all_in_any_order(tables: list[dict[str, int]]) -> None:
    def text(counts: dict[str, int]) -> str:
        lines = [f'lictor_proxy_x_total{{a="{name}"}} {n}' for name, n in counts.items()]
        return "\n".join(["# TYPE lictor_proxy_x_total counter", *lines]) + "\n"

    wanted: dict[str, int] = {}
    for each in tables:
        for name, count in each.items():
            wanted[name] = wanted.get(name, 0) + count
    for order in (tables, tables[::-1]):
        told = merged.metrics([text(each) for each in order])
        found = dict(line.rsplit(" ", 1) for line in told.splitlines() if not line.startswith("#"))
        assert {name[-3]: float(count) for name, count in found.items()} == wanted


def test_edges_and_clients_are_added() -> None:
    edge = {"Source": "a", "Destination": "b", "Result": "ok", "Requests": 2, "LastAt": 5.0}
    later = edge | {"LastAt": 7.0}
    assert merged.edges([[edge], [], [later, edge | {"Result": "denied"}]]) == [
        edge | {"Result": "denied"}, later | {"Requests": 4},
    ]  # fmt: skip
    one = {"rules": ["x"], "clients": {"a": 1}, "http_clients": {}}
    told = merged.explain([one, one | {"http_clients": {"b": 2}}])
    assert told["clients"] == {"a": 2} and told["http_clients"] == {"b": 2}
    assert told["rules"] == ["x"] and len(told["workers"]) == 2
    assert merged.explain([one]) == one
