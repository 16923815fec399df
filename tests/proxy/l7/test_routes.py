"""A compiled chain sends each request where it says."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from proxy.errors import SourceError
from proxy.http1.head import Request
from proxy.l7.routes import Chain, read_chain

GOLDEN = Path(__file__).parents[2] / "golden" / "http_mesh"


def full_match(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text) is not None


def chain(*routes: dict, splits: list | None = None) -> Chain:
    last = {"Definition": {"Match": {"HTTP": {"PathPrefix": "/"}}}, "NextNode": "s"}
    targets = {
        name: {"Service": name, "Datacenter": "dc1", "SNI": name} for name in ("v1", "v2", "old")
    }
    return read_chain(
        {
            "Protocol": "http",
            "StartNode": "r",
            "Nodes": {
                "r": {"Type": "router", "Routes": [*routes, last]},
                "s": {
                    "Type": "splitter",
                    "Splits": splits
                    or [{"Weight": 90, "NextNode": "v1"}, {"Weight": 10, "NextNode": "v2"}],
                },
                **{
                    name: {"Type": "resolver", "Resolver": {
                        "Target": name, "ConnectTimeout": "2s",
                        "Failover": {"Targets": ["old"]} if name == "v1" else None}}
                    for name in targets
                },
            },
            "Targets": targets,
        }
    )  # fmt: skip


def where(made: Chain, target: str, method: str = "GET", **headers: str) -> tuple[str, str]:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    request = Request(method, target, 1, named)
    choice = made.choose(request, target.partition("?")[0], random.Random(1), full_match)
    return choice.resolver.target.service, choice.path


@pytest.mark.parametrize(
    ("match", "hits", "misses"),
    [
        ({"PathExact": "/a"}, ["/a"], ["/a/", "/A"]),
        ({"PathExact": "/a", "CaseInsensitive": True}, ["/A"], ["/b"]),
        ({"PathPrefix": "/adm"}, ["/adm", "/administrator"], ["/ad"]),
        ({"PathRegex": "/[0-9]+"}, ["/12"], ["/12a", "/"]),
        ({"QueryParam": [{"Name": "x", "Exact": "1"}]}, ["/?x=1"], ["/?x=2", "/"]),
        ({"QueryParam": [{"Name": "x", "Present": True}]}, ["/?x="], ["/?y=1"]),
    ],
)
def test_conditions(match: dict, hits: list[str], misses: list[str]) -> None:
    made = chain({"Definition": {"Match": {"HTTP": match}}, "NextNode": "old"})
    for target in hits:
        assert where(made, target)[0] == "old", target
    for target in misses:
        assert where(made, target)[0] != "old", target


def test_headers_and_methods() -> None:
    match = {"Header": [{"Name": "X-A", "Prefix": "b"}], "Methods": ["PUT"]}
    made = chain({"Definition": {"Match": {"HTTP": match}}, "NextNode": "old"})
    assert where(made, "/", "PUT", x_a="bc")[0] == "old"
    assert where(made, "/", "GET", x_a="bc")[0] != "old"
    assert where(made, "/", "PUT", x_a="cb")[0] != "old"
    inverted = {"Header": [{"Name": "X-A", "Present": True, "Invert": True}]}
    made = chain({"Definition": {"Match": {"HTTP": inverted}}, "NextNode": "old"})
    assert where(made, "/")[0] == "old"
    assert where(made, "/", x_a="")[0] != "old"


@pytest.mark.parametrize(
    ("match", "rewrite", "path", "made_of_it"),
    [
        ({"PathPrefix": "/old/"}, "/new/", "/old/x", "/new/x"),
        ({"PathPrefix": "/old"}, "/", "/old", "/"),
        ({"PathExact": "/old"}, "/new", "/old", "/new"),
    ],
)
def test_rewrites(match: dict, rewrite: str, path: str, made_of_it: str) -> None:
    route = {
        "Definition": {"Match": {"HTTP": match}, "Destination": {"PrefixRewrite": rewrite}},
        "NextNode": "old",
    }
    assert where(chain(route), path) == ("old", made_of_it)


def test_splits_are_in_proportion() -> None:
    made, rng = chain(), random.Random(4)
    seen = Counter(
        made.choose(Request("GET", "/", 1, ()), "/", rng, full_match).resolver.target.service
        for _ in range(10_000)
    )
    assert abs(seen["v2"] - 1000) < 100  # 1 % of all
    none = chain(splits=[{"Weight": 100, "NextNode": "v1"}, {"Weight": 0, "NextNode": "v2"}])
    assert {where(none, "/")[0] for _ in range(100)} == {"v1"}


def test_retries_timeouts_and_headers_are_those_of_the_route() -> None:
    route = {
        "Definition": {
            "Match": {"HTTP": {"PathPrefix": "/r"}},
            "Destination": {
                "NumRetries": 4,
                "RetryOn": ["5xx"],
                "RetryOnStatusCodes": [418],
                "RequestTimeout": "1m30s",
                "RequestHeaders": {"Set": {"X-A": "1"}},
            },
        },
        "NextNode": "v1",
    }
    choice = chain(route).choose(Request("GET", "/r", 1, ()), "/r", random.Random(1), full_match)
    assert choice.timeout_s == 90.0
    assert choice.retry.retries == 4
    assert choice.retry.statuses == {418}
    assert choice.request_headers[0].set == {"X-A": "1"}
    assert choice.resolver.connect_timeout_s == 2.0
    assert [target.id for target in choice.resolver.failover] == ["old"]


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("chain-*.json")))
def test_every_recorded_chain_can_be_carried_out(name: str) -> None:
    """Whatever compiles sends any request somewhere."""
    found = 0
    for given in _chains(json.loads((GOLDEN / name).read_text())):
        made = read_chain(given)
        found += 1
        for path in ("/", "/old", "/ping", "/a/b"):
            choice = made.choose(Request("GET", path, 1, ()), path, random.Random(1), full_match)
            assert choice.resolver.target.id in made.targets()
    assert found >= 0


def _chains(value: object) -> list[dict]:
    if isinstance(value, str) and '"StartNode"' in value:
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if isinstance(value, dict):
        if "StartNode" in value and "Nodes" in value:
            return [value]
        return [each for inner in value.values() for each in _chains(inner)]
    if isinstance(value, list):
        return [each for inner in value for each in _chains(inner)]
    return []


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"StartNode": "x", "Nodes": {}, "Targets": {}},
        {"StartNode": "r", "Nodes": {"r": {"Type": "router", "Routes": []}}},
        {"StartNode": "r", "Nodes": {"r": {"Type": "resolver", "Resolver": {"Target": "no"}}}},
        {"StartNode": "r", "Nodes": []},
    ],
)
def test_a_chain_that_cannot_be_carried_out_is_refused(broken: dict) -> None:
    with pytest.raises(SourceError):
        read_chain(broken)
