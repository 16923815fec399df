"""What a watch asks next, and what it takes for news."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.watches.plan import parse_plan
from agent.watches.progress import PAUSE_MAX_S, News, Progress


def watch(kind: str, **more: Any) -> Progress:
    return Progress(parse_plan({"type": kind, **more}))


def test_the_first_answer_is_news_and_the_same_again_is_not() -> None:
    progress = watch("services", stale=True, datacenter="dc2")
    assert progress.query == (("dc", "dc2"), ("stale", ""))
    assert progress.answered({"a": []}, index=7) == News({"a": []}, index=7)
    assert progress.query[0] == ("index", "7")
    assert progress.answered({"a": []}, index=7) is None
    assert progress.answered({"a": []}, index=9) is None
    assert progress.query[0] == ("index", "9")
    assert progress.answered({"b": []}, index=10) == News({"b": []}, index=10)


def test_an_absent_key_is_news_too() -> None:
    progress = watch("key", key="a")
    assert progress.answered(None, index=3) == News(None, index=3)
    found = progress.answered([{"Key": "a", "Value": "dg=="}], index=4)
    assert found is not None
    assert found.data["Value"] == "dg=="
    assert progress.answered(None, index=5) == News(None, index=5)


def test_an_index_that_falls_begins_anew() -> None:
    progress = watch("services")
    progress.answered({"a": []}, index=9)
    assert progress.answered({"b": []}, index=2) == News({"b": []}, index=2)
    assert progress.query == ()


def test_only_events_that_were_not_told_are_news() -> None:
    progress = watch("event")
    first, second = {"ID": "1", "Name": "a"}, {"ID": "2", "Name": "a"}
    told = progress.answered([first], index=900)
    assert told is not None
    told = progress.answered([first, second], index=5)
    assert told is not None
    assert [event["ID"] for event in told.data] == ["2"]
    assert progress.query == (("index", "5"),)


def test_a_hash_is_blocked_on_where_there_is_one() -> None:
    progress = watch("agent_service", service_id="web")
    news = progress.answered({"ID": "web", "ContentHash": "abc"})
    assert news is not None
    assert (news.hash, progress.query) == ("abc", (("hash", "abc"),))
    assert progress.answered({"ID": "web", "ContentHash": "abc"}) is None


def test_pauses_grow_and_an_answer_ends_them() -> None:
    progress = watch("nodes")
    assert [progress.failed() for _ in range(3)] == [5.0, 20.0, 45.0]
    assert max(progress.failed() for _ in range(9)) == PAUSE_MAX_S
    progress.answered([], index=1)
    assert progress.failed() == 5.0


@given(st.lists(st.tuples(st.integers(0, 5), st.dictionaries(st.sampled_from("ab"), st.just([])))))
def test_news_are_exactly_the_changes_that_came_with_a_new_index(
    answers: list[tuple[int, dict[str, list[str]]]],
) -> None:
    """Against the rule written plainly: new index and other data than was told last."""
    progress = watch("services")
    last: Any = None
    place: int | None = None
    for index, data in answers:
        expected = (place is None or index != place) and data != last
        news = progress.answered(data, index=index)
        assert (news is not None) == expected
        previous = place or 0
        place = max(1, index) if index >= previous else 0
        if news is not None:
            last = data
        assert dict(progress.query).get("index") == (str(place) if place else None)
