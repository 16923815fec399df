"""A feed tells every proxy, whatever it has heard, exactly what there is."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.connect import feed as feed_module
from agent.connect.feed import ORDER, Feed

NAMES = ("roots", "leaf", "chain/a", "endpoints/a", "endpoints/b", "proxy")
names = st.sampled_from(NAMES)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), names, st.integers(0, 2)),
        st.tuples(st.just("drop"), names, st.just(0)),
        st.tuples(st.just("ask"), st.integers(0, 2), st.just(0)),
    ),
    max_size=40,
)


class Proxy:
    """Keeps what it is told, as a proxy does."""

    def __init__(self) -> None:
        self.version = ""
        self.held: dict[str, Any] = {}

    def ask(self, feed: Feed) -> None:
        told = feed.since(self.version)
        if told.full:
            self.held = {}
        self.held |= dict(told.resources)
        for name in told.removed:
            self.held.pop(name, None)
        ranks = [ORDER.index(name.partition("/")[0]) for name, _ in told.resources]
        assert ranks == sorted(ranks)
        self.version = told.version


@given(steps=steps, removed_max=st.integers(0, 3))
def test_whoever_asks_has_what_there_is(steps, removed_max):
    kept = feed_module.REMOVED_MAX
    feed_module.REMOVED_MAX = removed_max
    try:
        feed, proxies, model = Feed("e"), [Proxy(), Proxy(), Proxy()], {}
        for what, which, value in steps:
            if what == "set":
                assert feed.set(which, value) == (model.get(which, object()) != value)
                model[which] = value
            elif what == "drop":
                assert feed.drop(which) == (model.pop(which, None) is not None)
            else:
                news = feed.is_news(proxies[which].version)
                before = dict(proxies[which].held)
                proxies[which].ask(feed)
                assert proxies[which].held == model
                if proxies[which].version.endswith(".0"):
                    continue
                assert news or before == model
    finally:
        feed_module.REMOVED_MAX = kept


def test_a_version_of_another_feed_is_none():
    feed = Feed("a")
    feed.set("roots", 1)
    for version in ("", "b.1", "a.2", "a.x", "a.", "1"):
        assert feed.since(version).full and feed.is_news(version)
    assert not feed.is_news("a.1") and feed.since("a.1").resources == ()


def test_what_is_wanted_and_not_there_is_missing_and_others_go():
    feed = Feed("e")
    feed.set("chain/old", 1)
    feed.want(["roots", "leaf"])
    feed.set("roots", 1)
    assert feed.standing().missing == ("leaf",)
    assert not feed.since("").complete and "chain/old" not in feed.resources
    feed.set("leaf", 1)
    assert feed.since("").complete


def test_what_is_refused_is_seen_until_something_newer_is_taken():
    feed = Feed("e")
    feed.set("roots", 1)
    assert feed.accept("e.1", 10.0)
    feed.set("roots", 2)
    assert feed.reject("e.2", "x" * 5000, 11.0)
    found = feed.standing()
    assert (found.accepted, found.rejected, len(found.reason)) == ("e.1", "e.2", 1024)
    assert not feed.is_news("e.2"), "the same is not told again"
    assert not feed.accept("e.9", 12.0) and not feed.reject("other.1", "", 12.0)
    feed.set("roots", 3)
    assert feed.accept("e.3", 13.0)
    found = feed.standing()
    assert (found.accepted, found.rejected, found.reason) == ("e.3", "", "")
