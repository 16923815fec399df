"""Nothing can be asked, changed or called of which nobody has said what it needs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.acl import guard, served
from agent.acl.guard import Undeclared, check_declared
from agent.acl.reads import READS
from agent.acl.served import check_methods
from agent.acl.writes import WRITES
from agent.http import tokens
from agent.http.routes import ROUTES
from agent.http.tokens import WORDS, check_routes
from raftstore import commands, queries, wire

#: Loads every registry.
assert wire.VERSION


def test_every_command_query_method_and_route_is_declared() -> None:
    check_declared()
    check_methods()
    check_routes(ROUTES)


@pytest.mark.parametrize("kind", [*commands.REGISTRY.values()], ids=lambda kind: kind.__name__)
def test_a_command_without_a_line_keeps_the_agent_from_starting(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "WRITES", {k: v for k, v in WRITES.items() if k is not kind})
    with pytest.raises(Undeclared, match=kind.__name__):
        check_declared()


@pytest.mark.parametrize("kind", [*queries.REGISTRY.values()], ids=lambda kind: kind.__name__)
def test_a_query_without_a_line_keeps_the_agent_from_starting(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "READS", {k: v for k, v in READS.items() if k is not kind})
    with pytest.raises(Undeclared, match=kind.__name__):
        check_declared()


def test_a_method_of_the_leader_without_a_need_keeps_the_agent_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(served, "LEADER_METHODS", (*served.LEADER_METHODS, "new-method"))
    with pytest.raises(Undeclared, match="new-method"):
        check_methods()


@pytest.mark.parametrize("word", ["", "service:read"])
def test_a_route_without_a_known_word_keeps_the_agent_from_starting(word: str) -> None:
    route = next(route for route in ROUTES if route.path == "/v1/kv/")
    wrong = replace(route, endpoints=(replace(route.endpoints[0], permission="kv:read" + word),))
    with pytest.raises(tokens.Undeclared, match="/v1/kv/"):
        check_routes([wrong])
    assert "kv:read" not in WORDS
