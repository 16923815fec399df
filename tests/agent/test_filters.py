"""Filter expressions against a naive evaluator, and the errors that clients see."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import RequestError
from agent.filters import DEPTH_MAX, EXPRESSION_MAX, compile_filter
from agent.http import filter_fields
from tests.strategies import scaled

SELECTORS = {
    "Service.Service": "string",
    "Service.Meta.v": "map value",
    "Service.Port": "integer",
    "Service.EnableTagOverride": "boolean",
    "Service.Tags": "strings",
    "Service.Meta": "map",
    "Node.Node": "string",
}
_words = st.sampled_from(["web", "we", "db", "", "v1", "v"])
_entries = st.fixed_dictionaries(
    {
        "Node": st.fixed_dictionaries({"Node": _words}),
        "Service": st.fixed_dictionaries(
            {
                "Service": _words,
                "Tags": st.lists(_words, max_size=3),
                "Meta": st.none() | st.dictionaries(_words, _words, max_size=2),
                "EnableTagOverride": st.booleans(),
            },
            optional={"Port": st.integers(0, 3)},
        ),
        "Checks": st.lists(st.fixed_dictionaries({"Status": _words}), max_size=3),
    }
)

Node = tuple[Any, ...]


def _matches() -> st.SearchStrategy[Node]:
    strings = st.tuples(
        st.sampled_from(["Service.Service", "Node.Node", "Service.Meta.v"]),
        st.sampled_from(["==", "!=", "contains", "not contains", "in", "not in", "is empty"]),
        _words,
    )
    integers = st.tuples(st.just("Service.Port"), st.sampled_from(["==", "!="]), st.integers(0, 3))
    booleans = st.tuples(
        st.just("Service.EnableTagOverride"),
        st.sampled_from(["==", "!="]),
        st.sampled_from(["true", "false"]),
    )
    containers = st.tuples(
        st.sampled_from(["Service.Tags", "Service.Meta"]),
        st.sampled_from(["contains", "not contains", "in", "not in", "is empty", "is not empty"]),
        _words,
    )
    checks = st.tuples(st.just("Checks.Status"), st.sampled_from(["==", "!="]), _words)
    return st.one_of(strings, integers, booleans, containers, checks)


_trees = st.recursive(
    _matches(),
    lambda inner: st.one_of(
        st.tuples(st.just("and"), inner, inner),
        st.tuples(st.just("or"), inner, inner),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=6,
)


def write(tree: Node) -> str:
    """The tree as an expression, every part in parentheses."""
    match tree:
        case ("and" | "or" as word, left, right):
            return f"({write(left)}) {word} ({write(right)})"
        case ("not", inner):
            return f"not ({write(inner)})"
        case (selector, ("is empty" | "is not empty") as operator, _):
            return f"{selector} {operator}"
        case (selector, ("in" | "not in") as operator, value):
            return f'"{value}" {operator} {selector}'
        case (selector, operator, value):
            return f'{selector} {operator} "{value}"'
    raise AssertionError(tree)


def naive(tree: Node, entry: Any) -> bool:
    """What the tree means, straight from the contract."""
    match tree:
        case ("and", left, right):
            return naive(left, entry) and naive(right, entry)
        case ("or", left, right):
            return naive(left, entry) or naive(right, entry)
        case ("not", inner):
            return not naive(inner, entry)
        case ("Checks.Status", operator, value):
            same = operator == "=="
            return any((check["Status"] == value) is same for check in entry["Checks"])
        case ("Service.Meta.v", operator, value):
            meta = entry["Service"]["Meta"] or {}
            if "v" not in meta:
                return operator in {"!=", "not contains", "not in", "is empty"}
            return _one(meta["v"], operator, value)
        case ("Node.Node", operator, value):
            return _one(entry["Node"]["Node"], operator, value)
        case (selector, operator, value):
            found = entry["Service"].get(selector.removeprefix("Service."))
            return _one(found, operator, value)
    raise AssertionError(tree)


def _one(found: Any, operator: str, value: Any) -> bool:
    if value in {"true", "false"}:
        value = value == "true"
    if isinstance(value, int) and not isinstance(value, bool):
        found = found or 0
    match operator:
        case "==":
            return bool(found == value)
        case "!=":
            return bool(found != value)
        case "contains" | "in":
            return value in (() if found is None else found)
        case "not contains" | "not in":
            return value not in (() if found is None else found)
        case "is empty":
            return not found
        case _:
            return bool(found)


@settings(max_examples=scaled(300), deadline=None)
@given(_trees, _entries)
def test_an_expression_means_what_the_contract_says(tree: Node, entry: Any) -> None:
    compiled = compile_filter(write(tree), filter_fields.HEALTH_ENTRY)
    assert compiled(entry) is naive(tree, entry)


@settings(max_examples=scaled(300), deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["Service", ".", "Tags", "==", "!=", "in", "not", "is", "empty", '"a"', "`b`", "(",
             ")", " ", "and", "or", "1", "-", "[", "]", "contains", "matches", "\\", '"', "\x00"]
        ),
        max_size=14,
    ).map("".join)
)  # fmt: skip
def test_any_text_is_compiled_or_refused_with_500(text: str) -> None:
    refusal: RequestError | None = None
    try:
        compiled = compile_filter(text, filter_fields.SERVICE)
    except RequestError as error:
        refusal = error
    if refusal is not None:
        assert refusal.status == 500
        assert refusal.text.startswith("Failed to create boolean expression evaluator: ")
    else:
        assert compiled({"Service": "a", "Tags": ["b"]}) in {True, False}


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("Service.Nope == 1", 'Selector "Service.Nope" is not valid'),
        ("Service.Tags == a", 'Invalid match operator "Equal" for selector "Service.Tags"'),
        ("Service.Tags matches a", 'Invalid match operator "Matches" for selector "Service.Tags"'),
        (
            "Service.Port == abc",
            'Failed to coerce value "abc" for selector "Service.Port": '
            'strconv.ParseInt: parsing "abc": invalid syntax',
        ),
        (
            "Service.EnableTagOverride == yes",
            'Failed to coerce value "yes" for selector "Service.EnableTagOverride": '
            'strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (
            "Service",
            '1:8 (7): no match found, expected: "!=", ".", "==", "[", [ \\t\\r\\n] or [a-zA-Z0-9_]',
        ),
        ("Service.Port == 1 and", "1:22 (21): no match found, expected: [ \\t\\r\\n]"),
        (
            "Service.Port >",
            '1:14 (13): no match found, expected: "!=", "==", "contains", "in", "is", '
            '"matches", "not" or [ \\t\\r\\n]',
        ),
        ('Service.Port in "8"', '1:17 (16): rule "match": Invalid selector'),
        (
            '"x" == Service.Port',
            '1:5 (4): no match found, expected: "in", "not" or [ \\t\\r\\n]',
        ),
    ],
)
def test_errors_carry_the_reference_text(expression: str, reason: str) -> None:
    with pytest.raises(RequestError) as caught:
        compile_filter(expression, filter_fields.HEALTH_ENTRY)
    assert caught.value.text == f"Failed to create boolean expression evaluator: {reason}"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Service.Port==80", True),
        ("Service.Port == 80 or Service.Port == 1 and Service.Port == 2", True),
        ("not Service.Port == 80 or Service.Port == 80", True),
        ('Service.Meta["a-b"] == "1"', True),
        ("Service.Meta[`a-b`] != `1`", False),
        ("Service.TaggedAddresses.lan.Port == 8080", True),
        ("Service.TaggedAddresses.wan.Port == 8080", False),
        ("Service.Service matches `^w.b$`", True),
        ("Service.Service not matches `^w.b$`", False),
        ("web in Service.Service", True),
        ("Service.Weights.Passing == 0", True),
        ("  Service.Port\t==\n80  ", True),
        ('Service.Address == "say \\"hi\\""', True),
    ],
)
def test_the_grammar(expression: str, expected: bool) -> None:
    entry = {
        "Service": {
            "Service": "web",
            "Address": 'say "hi"',
            "Port": 80,
            "Meta": {"a-b": "1"},
            "TaggedAddresses": {"lan": {"Address": "x", "Port": 8080}},
        }
    }
    assert compile_filter(expression, filter_fields.HEALTH_ENTRY)(entry) is expected


def test_length_and_depth_are_bounded() -> None:
    for text in ("a" * (EXPRESSION_MAX + 1), "(" * (DEPTH_MAX + 1) + "Port == 1", "not " * 1000):
        with pytest.raises(RequestError, match=r"longer|deeper"):
            compile_filter(text, filter_fields.SERVICE)


def test_a_long_chain_is_no_deep_recursion() -> None:
    text = " or ".join(["Port == 1"] * 300)
    assert compile_filter(text, filter_fields.SERVICE)({"Port": 1})
