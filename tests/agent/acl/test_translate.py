"""Old rules become prefix rules, in the usual layout."""

from __future__ import annotations

import pytest

from agent.acl.rules import RulesError
from agent.acl.translate import translate


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('key "a" { policy = "read" }', 'key_prefix "a" {\n  policy = "read"\n}'),
        (
            'agent "" { policy = "read" }\nkey "" { policy = "write" }',
            'agent_prefix "" {\n  policy = "read"\n}\n\nkey_prefix "" {\n  policy = "write"\n}',
        ),
        (
            '# why\nevent "a" {\n  policy = "write"\n}\noperator = "read"\nkeyring = "deny"',
            '# why\nevent_prefix "a" {\n  policy = "write"\n}\n\noperator = "read"\n'
            'keyring  = "deny"',
        ),
        (
            'service "x" { policy = "read" intentions = "deny" }',
            'service_prefix "x" {\n  policy = "read"\n\n  intentions = "deny"\n}',
        ),
        ('node "a" {}', 'node_prefix "a" {}'),
        ('x = [true, 1.5, "a\\"b"]', 'x = [true, 1.5, "a\\"b"]'),
    ],
    ids=["one", "two", "comment", "inline", "empty", "list"],
)
def test_names_become_prefixes(old: str, new: str) -> None:
    assert translate(old) == new


def test_nonsense_is_refused() -> None:
    with pytest.raises(RulesError, match="Failed to parse ACL rules: At 1:11: "):
        translate("nonsense {")
