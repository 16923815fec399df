"""What rules give to whom."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.login.bindings import BindError, Bound, bound, check_name, interpolate, matches
from agent.login.claims import Identity
from raftstore.definitions import ACLBindingRule

WEB = Identity({"svc": "Web", "dc": "dc1", "none": ""}, {"groups": ("ops", "dev")})


def rule(type: str, name: str, selector: str = "", **more: Any) -> ACLBindingRule:
    content = {"BindType": type, "BindName": name, "Selector": selector, **more}
    return ACLBindingRule(id=f"{type}/{name}", auth_method="m", content=content)


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ("", True),
        ('value.svc == "Web"', True),
        ("value.svc==Web and dev in list.groups", True),
        ('"ops" not in list.groups', False),
        ('value.none == ""', True),
        ("value.none is empty", True),
        ('value.svc matches "^W"', True),
        ('value.nope == ""', False),
        ("serviceaccount.name == Web", False),
        ("rubbish (", False),
    ],
)
def test_selectors_choose(selector: str, fits: bool) -> None:
    assert matches(selector, WEB) is fits


def test_names_are_filled_in_lower_case_and_given_once() -> None:
    rules = [
        rule("service", "svc-${value.svc}"),
        rule("role", "team", "ops in list.groups"),
        rule("role", "other", "nobody in list.groups"),
        rule("service", "svc-${ value.svc }"),
        rule("templated-policy", "builtin/service", BindVars={"name": "${value.svc}"}),
        rule("policy", "p", BindVars={"name": "ignored"}),
        rule("node", "n-${value.dc}"),
    ]
    assert bound(rules, WEB) == (
        Bound("service", "svc-web"),
        Bound("role", "team"),
        Bound("templated-policy", "builtin/service", {"name": "web"}),
        Bound("policy", "p"),
        Bound("node", "n-dc1"),
    )


@pytest.mark.parametrize(
    ("type", "name", "why"),
    [
        ("service", "${value.nope}", "unknown variable accessed: value.nope"),
        ("service", "web-${value.none}", 'computed "service" bind name .* is invalid: "web-"'),
        ("service", "a b", "is invalid"),
        ("role", "${value.svc", "expected closing brace"),
        ("node", "Node", "is invalid"),
        ("templated-policy", "builtin/none", "is invalid"),
    ],
)
def test_what_cannot_be_a_name_is_refused(type: str, name: str, why: str) -> None:
    with pytest.raises(BindError, match=why):
        bound([rule(type, name)], WEB)


def test_a_name_is_tried_when_the_rule_is_written() -> None:
    check_name("service", "svc-${value.svc}", ["value.svc"])
    with pytest.raises(BindError, match="unknown variable"):
        check_name("service", "svc-${value.other}", ["value.svc"])
    with pytest.raises(BindError):
        check_name("role", "a b", [])


def test_a_dollar_can_be_written() -> None:
    assert interpolate("$${a}-${v}-$", {"v": "X"}) == "${a}-x-$"


@given(st.text(alphabet="${}av.x ", max_size=20), st.text(max_size=5))
def test_any_text_is_filled_in_or_refused(text: str, value: str) -> None:
    try:
        found = interpolate(text, {"v": value})
    except BindError:
        return
    if "$" not in text:
        assert found == text


@given(st.text(max_size=40))
def test_any_selector_fits_or_not(selector: str) -> None:
    assert matches(selector, WEB) in {True, False}
