"""Rules in HCL and in JSON, and what is said of wrong ones."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.acl import rules as rules_module
from agent.acl.builtin import BUILTIN_POLICIES, TEMPLATES
from agent.acl.rules import Level, Rule, RulesError, parse_rules


@pytest.mark.parametrize(
    "text",
    [
        'key "x" { policy = "write" }',
        'key { "x" { policy = "write" } }',
        'key = { "x" = { policy = "write" } }',
        'KEY "x" { Policy = "write" }',
        '{"key":{"x":{"policy":"write"}}}',
        '{"key":[{"x":{"policy":"write"}}]}',
        '{"key":{"x":[{"policy":"write"}]}}',
    ],
)
def test_a_rule_may_be_written_in_several_ways(text: str) -> None:
    assert parse_rules(text, "p") == (Rule("key", "x", False, Level.WRITE, "p"),)


def test_every_resource_has_its_rule() -> None:
    text = """
    acl = "read" keyring = "write" operator = "deny" mesh = "read" peering = "write"
    agent "a" { policy = "read" } agent_prefix "" { policy = "deny" }
    identity "i" { policy = "write" } identity_prefix "i" { policy = "read" }
    event "e" { policy = "write" } query_prefix "q" { policy = "read" }
    session "s" { policy = "write" } node_prefix "n" { policy = "write" }
    key_prefix "k" { policy = "list" }
    service "web" { policy = "read" intentions = "write" }
    anything "else" { policy = "nonsense" }
    """
    assert [str(rule) for rule in parse_rules(text)] == [
        'acl = "read"',
        'agent "a" = "read"',
        'agent_prefix "" = "deny"',
        'identity "i" = "write"',
        'identity_prefix "i" = "read"',
        'key_prefix "k" = "list"',
        'node_prefix "n" = "write"',
        'service "web" = "read"',
        'service "web" { intentions = "write" }',
        'session "s" = "write"',
        'event "e" = "write"',
        'query_prefix "q" = "read"',
        'keyring = "write"',
        'operator = "deny"',
        'mesh = "read"',
        'peering = "write"',
    ]


_ENTERPRISE = "EnterpriseRule:acl.EnterpriseRule{}}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('acl = "list"', 'Invalid acl policy: "list"'),
        (
            'agent "n" { policy = "x" }',
            'Invalid agent policy: &acl.AgentRule{Node:"n", Policy:"x"}',
        ),
        (
            'key_prefix "a" {}',
            'Invalid key_prefix policy: &acl.KeyRule{Prefix:"a", Policy:"", ' + _ENTERPRISE,
        ),
        (
            'service "w" { policy = "read" intentions = "list" }',
            'Invalid service intentions policy: &acl.ServiceRule{Name:"w", Policy:"read", '
            'Intentions:"list", ' + _ENTERPRISE,
        ),
        (
            'query "q" { policy = "list" }',
            'Invalid query policy: &acl.PreparedQueryRule{Prefix:"q", Policy:"list", '
            + _ENTERPRISE,
        ),
        ("{", "Failed to parse ACL rules: "),
        ("[1]", "Failed to parse ACL rules: "),
        ("key = 5", "Failed to parse ACL rules: key: object expected"),
        ("acl = [1]", "Failed to parse ACL rules: acl: string expected"),
        ('{"a":' * 5000, "Failed to parse ACL rules: "),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_wrong_rule_is_named(text: str, words: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse_rules(text)
    assert str(caught.value).startswith(words)


def test_a_policy_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_module, "RULES_MAX", 3)
    with pytest.raises(RulesError, match="at most 3 rules"):
        parse_rules("".join(f'key "{at}" {{ policy = "read" }}\n' for at in range(4)))


def test_what_is_built_in_can_be_read() -> None:
    for policy in BUILTIN_POLICIES.values():
        assert len(parse_rules(policy.rules)) >= 11
    for template in TEMPLATES.values():
        assert parse_rules(template.rules("web"))
        assert not template.named or "{{" not in template.rules("web")


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["read", "write", "policy", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "acl", "service_prefix", "policy", "a"]), inner)
    ),
    max_leaves=8,
)


@given(st.text() | documents.map(json.dumps))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_rules(text)
    except RulesError:
        return
