"""The compiler is total, deterministic and closed; its form is in the recorded scenarios."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.commands import Applied, Rejected
from raftstore.entries import kinds
from raftstore.entries.chain import DEPTH_MAX, NODES_MAX, compile_chain
from raftstore.entries.errors import GraphError
from raftstore.entries.splitter import hundredths, weight
from tests.raftstore.entries.book import NAMES, Book, bodies
from tests.strategies import long_examples


class Entries:
    """A set of entries that nobody has checked."""

    def __init__(self, given: list[dict[str, Any]]) -> None:
        self._held = {}
        for body in given:
            entry = kinds.decode(body)
            self._held[entry.kind, entry.name.lower()] = entry.content

    def content(self, kind: str, name: str) -> Any:
        return self._held.get((kind, name.lower()))


def compiled(given: list[dict[str, Any]], name: str) -> Any:
    try:
        return compile_chain(Entries(given), name, datacenter="dc1", trust_domain="t").json()
    except GraphError as error:
        return str(error)


def following(node: dict[str, Any]) -> list[str]:
    return [step["NextNode"] for step in (*node.get("Routes", ()), *node.get("Splits", ()))]


def check_closed(chain: dict[str, Any]) -> None:
    nodes, targets = chain["Nodes"], chain["Targets"]
    used, reached, waiting = set(), {chain["StartNode"]}, [chain["StartNode"]]
    while waiting:
        node = nodes[waiting.pop()]
        for key in following(node):
            assert key in nodes
            if key not in reached:
                reached.add(key)
                waiting.append(key)
    assert reached == set(nodes), "a node that nothing leads to"
    for node in nodes.values():
        if node["Type"] == "splitter":
            assert not any(key.startswith("splitter:") for key in following(node))
            total = sum(hundredths(split["Weight"]) for split in node["Splits"])
            assert abs(total - 10_000) <= len(node["Splits"])
        elif node["Type"] == "resolver":
            resolver = node["Resolver"]
            used |= {resolver["Target"], *resolver.get("Failover", {}).get("Targets", ())}
    assert used == set(targets)


@long_examples(200)
@given(given=st.lists(bodies, max_size=10), seed=st.integers(0, 1 << 32))
def test_any_set_of_entries_gives_a_closed_chain_or_a_reason(given, seed):
    shuffled = [
        {key: body[key] for key in random.Random(seed).sample(sorted(body), len(body))}
        for body in given
    ]
    for name in NAMES:
        found = compiled(given, name)
        assert found == compiled(shuffled, name)
        if not isinstance(found, str):
            check_closed(found)
            assert json.dumps(found) == json.dumps(compiled(given, name)), "order of keys"


def http(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"Kind": "proxy-defaults", "Config": {"protocol": "http"}}, *bodies]


def splitter(name: str, *targets: str) -> dict[str, Any]:
    share = 100 / len(targets)
    return {
        "Kind": "service-splitter",
        "Name": name,
        "Splits": [{"Weight": share, "Service": target} for target in targets],
    }


def test_splitters_that_multiply_are_refused_and_not_multiplied():
    levels = 20
    given = http(*(splitter(f"s{at}", f"s{at + 1}", f"t{at + 1}") for at in range(levels)))
    given += [splitter(f"t{at}", f"s{at + 1}", f"t{at + 1}") for at in range(1, levels)]
    assert compiled(given, "s0") == f'discovery chain "s0" splits into more than {NODES_MAX} parts'


def test_depth_has_an_end():
    given = http(*(splitter(f"s{at}", f"s{at + 1}") for at in range(DEPTH_MAX + 5)))
    assert "splitters below each other" in compiled(given, "s0")
    hops = [
        {"Kind": "service-resolver", "Name": f"r{at}", "Redirect": {"Service": f"r{at + 1}"}}
        for at in range(DEPTH_MAX + 5)
    ]
    assert "redirects after each other" in compiled(hops, "r0")


@pytest.mark.parametrize(
    ("given", "name", "reason"),
    [
        (
            [
                {"Kind": "service-resolver", "Name": "a", "Redirect": {"Service": "b"}},
                {"Kind": "service-resolver", "Name": "b", "Redirect": {"Service": "a"}},
            ],
            "a",
            "detected circular resolver redirect: "
            "[a.default.dc1 -> b.default.dc1 -> a.default.dc1]",
        ),
        (
            http(splitter("a", "b"), splitter("b", "a")),
            "a",
            "detected circular reference: "
            "[splitter:a.default -> splitter:b.default -> splitter:a.default]",
        ),
    ],
    ids=["redirect", "splitter"],
)
def test_circles_are_named(given, name, reason):
    assert compiled(given, name) == reason


@given(count=st.integers(0, 10_000))
def test_weights_keep_their_hundredths(count):
    assert hundredths(weight(count)) == count


def test_a_chain_has_the_index_of_what_it_is_made_of():
    book = Book()
    book.write({"Kind": "service-resolver", "Name": "a", "Redirect": {"Service": "b"}})
    before = book.chain_index("a")
    book.write({"Kind": "service-defaults", "Name": "unrelated", "Protocol": "http"})
    assert book.chain_index("a") == before
    book.write({"Kind": "service-resolver", "Name": "b", "ConnectTimeout": "9s"})
    assert book.chain_index("a") == book.index


def test_failover_targets_are_resolved_one_by_one():
    given = [
        {
            "Kind": "service-resolver",
            "Name": "a",
            "Failover": {
                "*": {"Targets": [{"Service": "b"}, {"Datacenter": "dc2"}, {"Service": "a"}]}
            },
        }
    ]
    node = compiled(given, "a")["Nodes"]["resolver:a.default.dc1"]
    assert node["Resolver"]["Failover"] == {"Targets": ["b.default.dc1", "a.default.dc2"]}


def test_compare_and_set():
    book = Book()
    body = {"Kind": "service-resolver", "Name": "a", "ConnectTimeout": "1s"}
    assert book.write(body, cas=7) == Applied(2, False)
    assert book.write(body, cas=0) == Applied(3, True)
    assert book.write({**body, "ConnectTimeout": "2s"}, cas=3) == Applied(4, True)


def test_what_is_not_in_its_normal_form_is_refused():
    from raftstore.definition_commands import SetConfigEntry
    from raftstore.definitions import ConfigEntry

    book = Book()
    for content in (None, [], {"Splits": 3}, {"connect_timeout": 1}, {"ConnectTimeout": "1s"}):
        entry = ConfigEntry(kind="service-resolver", name="a", content=content)
        book.index += 1
        outcome = book.state.apply(book.index, 0.0, SetConfigEntry(entry))
        assert isinstance(outcome, Rejected), content


def test_legs_keep_their_changes_of_headers_and_join_those_of_splitters_below() -> None:
    book = Book()
    for body in (
        {"Kind": "proxy-defaults", "Config": {"protocol": "http"}},
        {
            "Kind": "service-splitter",
            "Name": "b",
            "Splits": [
                {
                    "Weight": 100,
                    "RequestHeaders": {"Set": {"x": "inner", "y": "inner"}, "Remove": ["r"]},
                }
            ],
        },
        {
            "Kind": "service-splitter",
            "Name": "a",
            "Splits": [
                {"Weight": 50},
                {
                    "Weight": 50,
                    "Service": "b",
                    "RequestHeaders": {"Set": {"x": "outer", "z": "outer"}, "Remove": ["s"]},
                    "ResponseHeaders": {"Add": {"q": "outer"}},
                },
            ],
        },
    ):
        written = book.write(body)
        assert isinstance(written, Applied) and written.value is True, written
    plain, joined = book.chain("a").chain["Nodes"]["splitter:a.default"]["Splits"]
    assert plain == {"Weight": 50, "NextNode": "resolver:a.default.dc1"}
    assert joined["NextNode"] == "resolver:b.default.dc1"
    told = joined["Definition"]
    assert told["RequestHeaders"] == {
        "Set": {"x": "inner", "y": "inner", "z": "outer"},
        "Remove": ["s", "r"],
    }
    assert told["ResponseHeaders"] == {"Add": {"q": "outer"}}
