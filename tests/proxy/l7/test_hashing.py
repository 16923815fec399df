"""Hashes of requests: the same for the same, with cookies where there are none."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.head import Request
from proxy.l7.hashing import RequestHash


def request(target: str = "/", **headers: str) -> Request:
    return Request("GET", target, 1, tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def made(asked: Request, *policies: dict[str, object], ip: str = "10.0.0.1") -> RequestHash:
    found = RequestHash(asked, ip, random.Random(1))
    found.by({"HashPolicies": list(policies)})
    return found


def value(asked: Request, *policies: dict[str, object], ip: str = "10.0.0.1") -> int | None:
    return RequestHash(asked, ip, random.Random(1)).by({"HashPolicies": list(policies)})


HEADER = {"Field": "header", "FieldValue": "x-user"}
QUERY = {"Field": "query_parameter", "FieldValue": "u"}
COOKIE = {"Field": "cookie", "FieldValue": "c"}


def test_each_field_counts_and_nothing_else_does() -> None:
    assert value(request(x_user="a"), HEADER) == value(request("/other", x_user="a"), HEADER)
    assert value(request(x_user="a"), HEADER) != value(request(x_user="b"), HEADER)
    assert value(request("/?u=1&v=2"), QUERY) == value(request("/x?u=1"), QUERY)
    assert value(request(cookie="a=1; c=2"), COOKIE) == value(request(cookie="c=2"), COOKIE)
    assert value(request(), {"SourceIP": True}) != value(request(), {"SourceIP": True}, ip="::1")
    assert value(request(), HEADER, QUERY, COOKIE) is None


def test_terminal_ends_where_something_was_found() -> None:
    first = {**HEADER, "Terminal": True}
    assert value(request("/?u=1", x_user="a"), first, QUERY) == value(request(x_user="a"), HEADER)
    assert value(request("/?u=1"), first, QUERY) == value(request("/?u=1"), QUERY)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"TTL": 60_000_000_000, "Path": "/a"}, ["Max-Age=60", "Path=/a"]),
        ({"TTL": "1h"}, ["Max-Age=3600"]),
        ({"Session": True}, []),
    ],
)
def test_a_missing_cookie_is_made_once(config: dict[str, object], words: list[str]) -> None:
    policy = {**COOKIE, "CookieConfig": config}
    found = made(request(), policy)
    assert len(found.cookies) == 1
    parts = found.cookies[0].split("; ")
    assert parts[1:-1] == words
    first = found.by({"HashPolicies": [policy]})
    assert len(found.cookies) == 1, "the same request is given one cookie"
    name, _, quoted = parts[0].partition("=")
    assert value(request(cookie=f"{name}={quoted}"), policy) == first, "it comes back to the host"
    assert not made(request(cookie="c=1"), policy).cookies


def test_without_a_lifetime_no_cookie_is_made() -> None:
    assert made(request(), {**COOKIE, "CookieConfig": {"Path": "/"}}).cookies == []


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_a_request_draws_the_same_leg_each_time(user: str) -> None:
    asked = request(x_user=user)
    policy = {"HashPolicies": [HEADER]}
    draws = {RequestHash(asked, "", random.Random(n)).draw(policy, "split", 10_000)
             for n in range(3)}  # fmt: skip
    assert len(draws) == 1
    assert 0 <= (draws.pop() or 0) < 10_000


def test_draws_are_spread_and_splits_do_not_hang_together() -> None:
    policy = {"HashPolicies": [HEADER]}
    hashes = [RequestHash(request(x_user=f"u{n}"), "", random.Random(1)) for n in range(4000)]
    first = [each.draw(policy, "one", 10_000) or 0 for each in hashes]
    counted = Counter(draw < 1000 for draw in first)
    assert 300 <= counted[True] <= 500  # 400 expected, five standard deviations
    second = [each.draw(policy, "two", 10_000) or 0 for each in hashes]
    both = sum(a < 5000 and b < 5000 for a, b in zip(first, second, strict=True))
    assert 850 <= both <= 1150
