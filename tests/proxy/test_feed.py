"""What a proxy holds of its agent's feed, also when the agent begins anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.feed import Resources


def told(version: str, *, full: bool = False, complete: bool = True, **values: Any) -> Any:
    return {
        "Version": version,
        "Full": full,
        "Complete": complete,
        "Resources": [{"Name": name, "Value": value} for name, value in values.items()],
        "Removed": [],
    }


def held(resources: Resources) -> Mapping[str, Any]:
    return dict(resources._held)


def test_an_agent_that_begins_anew_takes_nothing_away_until_it_has_told_all() -> None:
    resources = Resources()
    resources.take(told("a.3", full=True, one=1, two=2, three=3))
    resources.take(told("b.1", full=True, complete=False, one=10))
    assert held(resources) == {"one": 10, "two": 2, "three": 3}
    resources.take(told("b.2", complete=False, four=4))
    assert held(resources) == {"one": 10, "two": 2, "three": 3, "four": 4}
    resources.take(told("b.3", two=20))  # that was all: nobody has told of three
    assert held(resources) == {"one": 10, "two": 20, "four": 4}
    resources.take(told("b.4", five=5))
    assert held(resources) == {"one": 10, "two": 20, "four": 4, "five": 5}


def test_an_answer_that_is_full_and_complete_is_all_there_is() -> None:
    resources = Resources()
    resources.take(told("a.3", full=True, one=1, two=2))
    resources.take(told("b.1", full=True, two=3))
    assert held(resources) == {"two": 3}


def test_what_is_removed_goes_at_once() -> None:
    resources = Resources()
    resources.take(told("a.1", full=True, one=1, two=2))
    resources.take(told("b.1", full=True, complete=False, one=1))
    resources.take({**told("b.2", complete=False), "Removed": ["two"]})
    assert held(resources) == {"one": 1}
