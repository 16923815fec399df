"""Every word in which a message is refused has the number of its rule."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import proxy
from proxy.telemetry.rejects import OTHER, RULES, rule_of

ROOT = Path(proxy.__file__).parent
RAISED = frozenset({"HttpViolation", "Flood"})


@functools.cache
def texts() -> set[str]:
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                for each in node.args:
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        found.add(each.value)
    return found


def test_all_words_are_known() -> None:
    assert len(texts()) > 40
    assert sorted(text for text in texts() if rule_of(text) == OTHER) == []


def test_the_label_is_bounded() -> None:
    assert rule_of("ProtocolError: whatever the codec says") == OTHER
    assert rule_of("too many resets of streams") == "14" and rule_of("bad Host") == "7"
    assert rule_of("too many headers") == "8"
    assert all(rule_of(text) in RULES for text in texts())
