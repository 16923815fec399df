"""What is told of a request's ways is what a proxy does with it."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.http1.head import Request
from proxy.l7.route_walk import WAYS_MAX, misfits, walk
from proxy.l7.routes import Chain, matches, read_chain

LEAVES = ("v1", "v2", "v3")


def full_match(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def chain(routes: list[dict[str, Any]], splits: dict[str, list[tuple[float, str]]]) -> Chain:
    last = {"Definition": {"Match": {"HTTP": {"PathPrefix": "/"}}}, "NextNode": "s"}
    nodes: dict[str, Any] = {"r": {"Type": "router", "Routes": [*routes, last]}}
    for name, legs in splits.items():
        found = [{"Weight": weight, "NextNode": node} for weight, node in legs]
        nodes[name] = {"Type": "splitter", "Splits": found}
    for name in LEAVES:
        nodes[name] = {"Type": "resolver", "Resolver": {"Target": name, "ConnectTimeout": "2s"}}
    targets = {name: {"Service": name, "Datacenter": "dc1"} for name in LEAVES}
    return read_chain({"Protocol": "http", "StartNode": "r", "Nodes": nodes, "Targets": targets})


leaves = st.sampled_from(LEAVES)
conditions = st.builds(
    lambda name, form, invert: {"Name": name, form[0]: form[1], "Invert": invert},
    st.sampled_from(["x", "y"]),
    st.sampled_from([("Exact", "1"), ("Prefix", "1"), ("Regex", "[12]+"), ("Present", True)]),
    st.booleans(),
)
http = st.fixed_dictionaries(
    {},
    optional={
        "PathPrefix": st.sampled_from(["/a", "/b"]),
        "PathRegex": st.sampled_from(["/a.*", "/[bc]"]),
        "Methods": st.lists(st.sampled_from(["GET", "PUT"]), max_size=2),
        "Header": st.lists(conditions, max_size=2),
        "QueryParam": st.lists(conditions, max_size=1),
    },
)
routes = st.lists(
    st.builds(
        lambda match, to, node: {
            "Definition": {"Match": {"HTTP": match}, "Destination": to},
            "NextNode": node,
        },
        http,
        st.sampled_from(
            [
                {},
                {"PrefixRewrite": "/z", "NumRetries": 3},
                {"RequestTimeout": "9s"},
                {"RequestHeaders": {"Set": {"a": "b"}}},
            ]
        ),
        st.one_of(leaves, st.just("s")),
    ),
    max_size=4,
)
requests = st.builds(
    lambda method, path, query, headers: Request(method, path + query, 1, tuple(headers.items())),
    st.sampled_from(["GET", "PUT"]),
    st.sampled_from(["/", "/a", "/ab", "/b", "/c"]),
    st.sampled_from(["", "?x=1", "?x=2&y=1"]),
    st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "12", "3"]), max_size=2),
)


@st.composite
def splits(draw: st.DrawFn) -> dict[str, list[tuple[int, str]]]:
    first, second = draw(st.integers(0, 100)), draw(st.integers(0, 100))
    return {
        "s": [(first, draw(leaves)), (100 - first, "t")],
        "t": [(second, draw(leaves)), (100 - second, draw(leaves))],
    }


@given(routes, splits(), requests)
@settings(max_examples=60)
def test_each_choice_is_one_of_the_ways_as_often_as_its_share_says(
    given_routes: list[dict[str, Any]], given_splits: dict[str, list[tuple[int, str]]], one: Request
) -> None:
    made = chain(given_routes, given_splits)
    path = one.target.partition("?")[0]
    ways = walk(made, one, path, full_match)
    assert sum(way.share for way in ways) == 1
    rng, count = random.Random(1), 400
    seen = Counter(repr(made.choose(one, path, rng, full_match)) for _ in range(count))
    shares: Counter[str] = Counter()
    for way in ways:
        shares[repr(way.choice)] += way.share
    assert set(seen) <= set(shares)
    for key, share in shares.items():
        assert abs(seen[key] / count - float(share)) < 0.15


@given(routes, requests)
@settings(max_examples=100)
def test_what_does_not_fit_is_named_and_only_then(
    given_routes: list[dict[str, Any]], one: Request
) -> None:
    path = one.target.partition("?")[0]
    for route in chain(given_routes, {"s": [(100, "v1")]}).routes["r"]:
        named = list(misfits(route, one, path, full_match))
        assert (named == []) == matches(route, one, path, full_match)


def test_words_name_the_condition_and_not_the_value_of_the_request() -> None:
    match = {"PathExact": "/b", "Methods": ["PUT"], "Header": [{"Name": "X", "Exact": "1"}]}
    made = chain(
        [{"Definition": {"Match": {"HTTP": match}}, "NextNode": "v3"}], {"s": [(100, "v1")]}
    )
    asked = Request("GET", "/a", 1, (("x", "secret"),))
    (way,) = walk(made, asked, "/a", full_match)
    assert [each.misfits for each in way.tried] == [
        ("method GET is not one of PUT", "path /a is not exact /b", "header x is not exact 1"),
        (),
    ]


def test_splits_of_splits_are_bounded() -> None:
    names = [f"s{number}" for number in range(12)]
    nodes = {
        name: [(50, following), (50, following)]
        for name, following in zip(names, [*names[1:], "v1"], strict=True)
    }
    made = chain([{"Definition": {}, "NextNode": "s0"}], {**nodes, "s": [(100, "v1")]})
    ways = walk(made, Request("GET", "/", 1, ()), "/", full_match)
    assert len(ways) == WAYS_MAX and sum(way.share for way in ways) < 1


def test_of_many_ways_the_likeliest_are_told() -> None:
    rare = [(0.01, "v1")] * 1000
    made = chain([], {"s": [*rare, (60, "v2"), *rare, (20, "v3")]})
    first, second, *_ = walk(made, Request("GET", "/", 1, ()), "/", full_match)
    assert [one.choice.resolver.target.id for one in (first, second)] == ["v2", "v3"]
