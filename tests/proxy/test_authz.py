"""Who may talk to whom: precedence, reasons, and the memory of a policy."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.authz import (
    DEFAULT_ACL_OFF,
    DEFAULT_BY_ACL,
    DEFAULT_BY_POLICY,
    Default,
    Policy,
    Rule,
    decide,
    default_told,
    foreign,
    order,
    precedence,
)
from proxy.spiffe import Kind, SpiffeId
from tests.proxy.mesh import TRUST_DOMAIN, rule
from tests.strategies import scaled

names = st.sampled_from(["*", "a", "b", "c"])
rules_of = st.lists(
    st.builds(rule, names, names, st.sampled_from(["allow", "deny"]), st.sampled_from([0, 0, 2])),
    max_size=12,
    unique_by=lambda each: (each.source, each.destination),
)


def obvious(rules: list[Rule], source: str, destination: str, default: bool) -> bool:
    """Try the four pairs that can match, most exact first."""
    for wanted in ((source, destination), ("*", destination), (source, "*"), ("*", "*")):
        for each in rules:
            if (each.source, each.destination) == wanted:
                return not each.permissions and each.action == "allow"
    return default


@settings(max_examples=scaled(150), deadline=None)
@given(rules_of, st.sampled_from("abcd"), st.sampled_from("abcd"), st.booleans(), st.integers())
def test_the_decision_is_that_of_the_most_exact_pair(
    rules: list[Rule], source: str, destination: str, default: bool, seed: int
) -> None:
    shuffled = list(rules)
    random.Random(seed).shuffle(shuffled)
    decision = decide(
        order(shuffled), source=source, destination=destination, default_allow=default
    )
    assert decision.allowed == obvious(rules, source, destination, default)
    assert (decision.rule is None) == (decision.reason == DEFAULT_ACL_OFF)
    if decision.rule is not None:
        assert all(loser.precedence <= decision.rule.precedence for loser in decision.losers)


def test_precedence_counts_the_destination_first() -> None:
    pairs = [("api", "web"), ("*", "web"), ("api", "*"), ("*", "*")]
    assert [precedence(*pair) for pair in pairs] == [9, 8, 6, 5]
    rules = order([rule("mon", "*", "allow"), rule("*", "web", "deny")])
    assert not decide(rules, source="mon", destination="web", default_allow=True).allowed


@pytest.mark.parametrize(
    ("given_rule", "source", "reason"),
    [
        (
            rule("api", "web", "allow"),
            "api",
            "Matched L4 intention: default/api => default/web (Precedence: 9, Action: ALLOW)",
        ),
        (
            rule("*", "web", "deny"),
            "x",
            "Matched L4 intention: default/* => default/web (Precedence: 8, Action: DENY)",
        ),
        (
            rule("*", "*", "deny"),
            "x",
            "Matched L4 intention: default/* => default/* (Precedence: 5, Action: DENY)",
        ),
        (
            rule("api", "web", "", permissions=1),
            "api",
            "Matched L7 intention: default/api => default/web (Precedence: 9, Permissions: 1)",
        ),
    ],
)
def test_reasons_are_in_the_words_clients_know(given_rule: Rule, source: str, reason: str) -> None:
    decision = decide([given_rule], source=source, destination="web", default_allow=True)
    assert decision.reason == reason
    assert decision.allowed == ("ALLOW" in reason)


def test_without_a_rule_the_default_decides_and_gives_its_reason() -> None:
    for allow, reason in ((True, DEFAULT_ACL_OFF), (False, DEFAULT_BY_ACL)):
        decision = decide(
            [], source="a", destination="b", default_allow=allow, default_reason=reason
        )
        assert (decision.allowed, decision.reason, decision.rule) == (allow, reason, None)


def test_an_unknown_action_denies() -> None:
    assert not decide(
        [rule("a", "b", "perhaps")], source="a", destination="b", default_allow=True
    ).allowed


def policy(**changed: object) -> Policy:
    given_: dict[str, object] = {
        "destination": "web",
        "trust_domain": TRUST_DOMAIN,
        "rules": (),
        "default_allow": True,
    }
    return Policy(**(given_ | changed))  # type: ignore[arg-type]


def test_another_trust_domain_is_denied_with_both_names() -> None:
    stranger = SpiffeId.service("other.consul", "dc1", "api")
    decision = policy().decide(stranger)
    assert not decision.allowed
    assert "other.consul" in decision.reason
    assert TRUST_DOMAIN in decision.reason
    assert foreign(SpiffeId.service(TRUST_DOMAIN.upper(), "dc1", "api"), TRUST_DOMAIN) is None


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.SERVICE])
def test_only_services_are_let_in(kind: Kind) -> None:
    identity = SpiffeId(kind=kind, trust_domain=TRUST_DOMAIN, datacenter="dc1", name="web")
    assert not policy().decide(identity).allowed


def test_a_policy_remembers_a_bounded_number_of_answers() -> None:
    small = policy(rules=(rule("a1", "web", "deny"),), kept_max=3)
    for turn in range(2):
        for number in range(10):
            identity = SpiffeId.service(TRUST_DOMAIN, "dc1", f"a{number}")
            assert small.decide(identity).allowed == (number != 1), turn
            assert len(small._memo) <= 3


@pytest.mark.parametrize(
    ("headers", "allow", "reason"),
    [
        ({}, False, DEFAULT_BY_ACL),
        ({"x-consul-default-acl-policy": "allow"}, True, DEFAULT_ACL_OFF),
        ({"x-consul-default-acl-policy": "deny"}, False, DEFAULT_BY_ACL),
        (
            {
                "x-consul-default-acl-policy": "allow",
                "x-lictor-default-intention-policy": "deny",
            },
            False,
            DEFAULT_BY_POLICY,
        ),
        (
            {
                "x-consul-default-acl-policy": "deny",
                "x-lictor-default-intention-policy": "allow",
            },
            True,
            DEFAULT_BY_POLICY,
        ),
    ],
)
def test_an_agent_tells_what_holds_without_an_intention(
    headers: dict[str, str], allow: bool, reason: str
) -> None:
    assert default_told(headers) == Default(allow, reason)
