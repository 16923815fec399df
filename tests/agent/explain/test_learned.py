"""What intentions would let in what was seen, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connect.clients import Counts, Wanted
from agent.errors import RequestError
from agent.explain.clients import Found
from agent.explain.learned import learned, learner
from proxy.authz import Rule, decide, order, precedence
from tests.agent.explain.test_intention import a_backend

NAMES = ("a", "b", "c")
WHO = st.sampled_from((*NAMES, "*"))
RULES = st.dictionaries(st.tuples(WHO, WHO), st.sampled_from(["allow", "deny"]), max_size=4)
SEEN = st.lists(
    st.builds(
        Counts,
        source=st.sampled_from(NAMES),
        destination=st.sampled_from(NAMES),
        node=st.sampled_from(["n1", "n2"]),
        first=st.integers(0, 3),
        second=st.integers(0, 3),
    ),
    max_size=6,
)


def rule(source: str, destination: str, action: str) -> Rule:
    return Rule(source=source, destination=destination, action=action,
                precedence=precedence(source, destination))  # fmt: skip


@given(RULES, SEEN, st.booleans())
def test_what_is_proposed_lets_in_what_was_let_in_and_changes_nothing_else(
    given_rules, seen, default
):
    rules = order(rule(*pair, action) for pair, action in given_rules.items())
    found: Any = learned(rules, seen, default_allow=default, default_reason="default")
    pairs = {(each["Source"], each["Destination"]) for each in found["Proposed"]}
    let_in = {(each.source, each.destination) for each in seen if each.first}
    assert pairs == let_in - given_rules.keys()
    assert len(pairs) + found["Covered"] == len(let_in)
    after = order([*rules, *(rule(*pair, "allow") for pair in pairs)])
    for source in NAMES:
        for destination in NAMES:
            was, will = (
                decide(each, source=source, destination=destination, default_allow=default).allowed
                for each in (rules, after)
            )
            assert will == (True if (source, destination) in pairs else was)
    refused = {(each["Source"], each["Destination"]) for each in found["Refused"]}
    assert refused == {(each.source, each.destination) for each in seen if each.second}


async def test_agents_are_asked_for_the_time_that_is_given() -> None:
    backend = await a_backend(("web", "db", "allow"), ("api", "*", "deny"))
    asked = []

    async def seen(question: Wanted) -> Found:
        asked.append(question)
        counts = (
            Counts("web", "db", "n1", 7, 0),
            Counts("web", "cache", "n1", 2, 0),
            Counts("web", "cache", "n2", 3, 1),
            Counts("api", "db", "n2", 0, 4),
        )
        return Found(counts, asked=3, heard=2, more=True)

    explain = learner(backend, seen, default_allow=True, default_reason="open")
    shown: Any = await explain((), {"since": "2h"})
    assert asked == [Wanted("*", "*", 7200)]
    assert [tuple(each.values()) for each in shown["Proposed"]] == [
        ("web", "cache", 5, 1, 2, "open")
    ]
    assert [each["Source"] for each in shown["Refused"]] == ["api", "web"]
    assert "default/api => default/*" in shown["Refused"][0]["DecidedBy"]
    assert (shown["Covered"], shown["Heard"], shown["Asked"], shown["More"]) == (1, 2, 3, True)
    await explain((), {})
    assert asked[-1].since_s == 86_400
    for wrong in ("soon", "0s", "99999h"):
        with pytest.raises(RequestError):
            await explain((), {"since": wrong})
