"""Request targets: decoding, cleaning, refusing."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.http.paths import BadTarget, Target, clean, plain_path, read_target


@pytest.mark.parametrize(
    ("raw", "path", "query"),
    [
        ("/v1/kv/a?raw&x=1", "/v1/kv/a", "raw&x=1"),
        ("/v1/kv/a%2Fb", "/v1/kv/a/b", ""),
        ("/v1/kv/a+b", "/v1/kv/a+b", ""),
        ("/v1/kv/%C3%A9", "/v1/kv/é", ""),
        ("/v1/kv/a%252Fb", "/v1/kv/a%2Fb", ""),
        ("http://host:8500/v1/status/leader?x", "/v1/status/leader", "x"),
        ("http://host", "/", ""),
    ],
)
def test_a_target_is_decoded_once(raw: str, path: str, query: str) -> None:
    target = read_target(raw)
    assert (target.path, target.query, target.redirect) == (path, query, "")


@pytest.mark.parametrize(
    "raw", ["/a%zz", "/a%", "/%ff", "/a%00b", "/a%0Ab", "*", "a/b", "/%E2%80%8B"]
)
def test_what_cannot_be_read_or_printed_is_refused(raw: str) -> None:
    with pytest.raises(BadTarget):
        read_target(raw)


@pytest.mark.parametrize(
    ("raw", "location"),
    [
        ("/v1/kv//a", "/v1/kv/a"),
        ("/v1/kv/a/../b?raw", "/v1/kv/b?raw"),
        ("/v1/./kv/a", "/v1/kv/a"),
        ("/v1/kv/a//", "/v1/kv/a/"),
        ("/..", "/"),
        ("/v1/kv/a%2F%2Fb%20c", "/v1/kv/a/b%20c"),
        ("//evil.example/x", "/evil.example/x"),
    ],
)
def test_an_unclean_path_is_sent_to_the_clean_one(raw: str, location: str) -> None:
    assert read_target(raw).redirect == location


@given(st.lists(st.sampled_from(["a", "b", ".", "..", "", "c.d"]), max_size=8))
def test_a_clean_path_needs_no_more_cleaning(segments: list[str]) -> None:
    path = clean("/" + "/".join(segments))
    assert clean(path) == path
    assert path.startswith("/") and "//" not in path
    assert not read_target(quote(path)).redirect


@given(st.text("/a.~-_%?# é", max_size=12).map(lambda text: "/v1/" + text))
def test_a_plain_path_is_what_the_long_way_reads(raw: str) -> None:
    path = plain_path(raw.encode())
    if path is None:
        assert raw != "/v1/a/a.a/-a~_/"
        return
    assert read_target(raw) == Target(path, "")
