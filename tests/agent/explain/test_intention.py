"""Why a connection is allowed or denied, from stored intentions."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import RequestError
from agent.explain.intention import decision, intention_explainer
from raftstore.commands import SetIntention
from raftstore.records import IntentionSource, ServiceName
from tests.agent.http.rig import StateBackend


async def a_backend(*rules: tuple[str, str, str]) -> StateBackend:
    backend = StateBackend()
    for source, destination, action in rules:
        await backend.change(
            SetIntention(
                destination=ServiceName(destination),
                source=IntentionSource(name=ServiceName(source), action=action),
            )
        )
    return backend


async def explain(backend: StateBackend, *arguments: str, **query: str) -> Any:
    return await intention_explainer(backend)(arguments, query)


async def test_the_winner_the_losers_and_the_default_are_shown() -> None:
    backend = await a_backend(("web", "db", "allow"), ("*", "db", "deny"), ("*", "*", "deny"))
    shown = await explain(backend, "web", "db")
    assert shown["Allowed"] is True
    assert shown["Reason"].startswith("Matched L4 intention: default/web => default/db")
    assert (shown["Winner"]["Source"], shown["Winner"]["Precedence"]) == ("web", 9)
    assert [(each["Source"], each["Destination"]) for each in shown["Losers"]] == [
        ("*", "db"),
        ("*", "*"),
    ]
    assert shown["Default"]["Allowed"] is True


async def test_without_a_rule_the_default_decides() -> None:
    backend = await a_backend(("other", "db", "deny"))
    shown = await explain(backend, source="web", destination="db")
    assert shown["Winner"] is None and shown["Losers"] == []
    assert shown["Allowed"] is True and "by default" in shown["Reason"]
    denied = await decision(backend, source="web", destination="db", default_allow=False)
    assert not denied.allowed


@pytest.mark.parametrize("arguments", [(), ("web",)])
async def test_both_sides_must_be_named(arguments: tuple[str, ...]) -> None:
    with pytest.raises(RequestError, match="required query parameter"):
        await explain(await a_backend(), *arguments)
