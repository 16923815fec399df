"""A lane takes only what aiohttp has read in the same words before, and only between requests."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from agent.http.lane import HEADS_MAX, Head, Heads, Lane, target_token
from agent.http.params import parse_query

HEADERS = {"Host": "x"}
GET = b"GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n"


def put(body: bytes, target: bytes = b"/v1/kv/a") -> bytes:
    head = b"PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nA: b\r\n\r\n" % (target, len(body))
    return head + body


def token(secret: bytes) -> bytes:
    return GET.replace(b"Host: x", b"Host: x\r\nX-Consul-Token: " + secret)


def goes_long(
    lane: Lane, data: bytes, headers: Mapping[str, str], length: int | None = None
) -> None:
    """What a connection does with a request that aiohttp answers."""
    assert lane.take(data) is None
    lane.passed_on(data)
    lane.read(headers, length, keep_alive=True)
    lane.answered()


@pytest.fixture
def lane() -> Lane:
    return Lane(Heads())


def test_the_same_lines_are_taken_with_another_target(lane: Lane) -> None:
    goes_long(lane, GET, HEADERS)
    seen = lane.take(GET.replace(b"/v1/kv/a", b"/v1/kv/b?raw"))
    assert seen is not None
    assert (seen.method, seen.target, seen.body) == ("GET", b"/v1/kv/b?raw", b"")
    assert seen.head.headers == HEADERS
    assert lane.take(GET.replace(b"Host: x", b"Host: y")) is None
    assert lane.take(GET.replace(b"GET", b"HEAD")) is None
    assert lane.take(GET.replace(b"1.1", b"1.0")) is None


def test_a_body_of_another_length_is_taken(lane: Lane) -> None:
    goes_long(lane, put(b"hello"), HEADERS, 5)
    for body in (b"", b"x", b"\r\n\r\n", b"x" * 5000):
        seen = lane.take(put(body))
        assert seen is not None and seen.body == body
    assert lane.take(put(b"hello")[:-1]) is None
    assert lane.take(put(b"hello") + b"x") is None
    assert lane.take(put(b"hello").replace(b"5", b"+5")) is None
    assert lane.take(put(b"hello").replace(b"5", b"5, 5")) is None


def test_a_length_in_other_words_is_as_it_was(lane: Lane) -> None:
    data = put(b"hello").replace(b"Content-Length", b"content-length")
    goes_long(lane, data, HEADERS, 5)
    assert lane.take(data) is not None
    assert lane.take(put(b"hi").replace(b"Content-Length", b"content-length")) is None


@pytest.mark.parametrize("name", ["Transfer-Encoding", "Upgrade", "Expect", "Trailer"])
def test_what_is_more_than_a_head_and_a_body_is_never_taken(lane: Lane, name: str) -> None:
    goes_long(lane, put(b"hello"), HEADERS | {name: "x"}, 5)
    assert lane.take(put(b"hello")) is None
    lane.passed_on(GET)
    lane.read(HEADERS, None, keep_alive=True)
    lane.answered()
    assert lane.take(GET) is None, "it is not known any more where aiohttp stands"


def test_nothing_is_taken_while_aiohttp_has_more_than_it_has_answered(lane: Lane) -> None:
    goes_long(lane, GET, HEADERS)
    lane.passed_on(GET + GET)
    lane.read(HEADERS, None, keep_alive=True)
    assert lane.take(GET) is None
    lane.answered()
    assert lane.take(GET) is None


def test_a_head_in_pieces_leaves_the_connection_to_aiohttp(lane: Lane) -> None:
    goes_long(lane, GET, HEADERS)
    lane.passed_on(GET[:10])
    lane.passed_on(GET[10:])
    lane.read(HEADERS, None, keep_alive=True)
    lane.answered()
    assert lane.take(GET) is None


def test_a_body_that_comes_later_is_waited_for(lane: Lane) -> None:
    data = put(b"hello")
    lane.passed_on(data[:-5])
    lane.passed_on(data[-5:])
    lane.read(HEADERS, 5, keep_alive=True)
    lane.answered()
    assert lane.take(data) is not None


def test_a_body_that_was_not_waited_for_closes_the_lane(lane: Lane) -> None:
    goes_long(lane, GET, HEADERS)
    lane.passed_on(put(b"hello")[:-5])
    lane.read(HEADERS, 5, keep_alive=True)
    lane.answered()
    assert lane.take(GET) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/kv/a HTTP/1.1\nHost: x\n\nGET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/kv/a HTTP/1.1\r\nHost: x\n\nGET /v1/kv/b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n\r\nGET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/kv/a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/kv/a HTTP/1.0\r\nHost: x\r\n\r\n",
    ],
)
def test_what_two_parsers_could_read_in_two_ways_closes_the_lane(lane: Lane, data: bytes) -> None:
    goes_long(lane, GET, HEADERS)
    lane.passed_on(data)
    lane.read(HEADERS, None, keep_alive=True)
    lane.answered()
    assert lane.take(GET) is None


def test_a_connection_that_ends_is_not_taken_up_again(lane: Lane) -> None:
    lane.passed_on(GET)
    lane.read(HEADERS, None, keep_alive=False)
    lane.answered()
    assert lane.take(GET) is None


def test_the_same_lines_are_taken_with_another_token(lane: Lane) -> None:
    goes_long(lane, token(b"one"), CIMultiDict(HEADERS | {"x-consul-token": "one"}))
    for secret in ("one", "two", "two", "one", "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d21"):
        seen = lane.take(token(secret.encode()))
        assert seen is not None and seen.token == secret
        assert seen.head.quiet and dict(seen.head.headers) == HEADERS
        assert "X-Consul-Token" not in seen.head.headers and len(seen.head.headers) == 1
    for odd in (b"", b" two", b"two ", b"two, three", b"t" * 65, b"t\xff", b"two\r\nA: b"):
        assert lane.take(token(odd)) is None
    assert lane.take(GET) is None


def test_a_token_that_is_shown_twice_is_left_to_aiohttp(lane: Lane) -> None:
    data = token(b"one").replace(b"Host: x", b"Host: x\r\nx-consul-token: other")
    both = CIMultiDict([("Host", "x"), ("x-consul-token", "other"), ("X-Consul-Token", "one")])
    goes_long(lane, data, both)
    assert lane.take(data) is None


def test_an_odd_token_belongs_to_its_head(lane: Lane) -> None:
    data = token(b"a b")
    goes_long(lane, data, CIMultiDict(HEADERS | {"X-Consul-Token": "a b"}))
    seen = lane.take(data)
    assert seen is not None and seen.token == "" and not seen.head.quiet
    assert seen.head.headers["x-consul-token"] == "a b"
    assert lane.take(token(b"a c")) is None
    assert lane.take(token(b"a")) is None


def bearer(secret: bytes) -> bytes:
    return GET.replace(b"Host: x", b"Host: x\r\nAuthorization: Bearer " + secret)


def test_a_bearer_token_is_a_token(lane: Lane) -> None:
    goes_long(lane, bearer(b"one"), CIMultiDict(HEADERS | {"Authorization": "Bearer one"}))
    for secret in ("one", "two", "two"):
        seen = lane.take(bearer(secret.encode()))
        assert seen is not None and seen.token == secret
        assert seen.head.quiet and dict(seen.head.headers) == HEADERS
    for odd in (b"", b" two", b"two three", b"two, Basic x"):
        assert lane.take(bearer(odd)) is None
    assert lane.take(token(b"one")) is None


def test_of_two_kinds_of_tokens_aiohttp_reads_which_counts(lane: Lane) -> None:
    data = bearer(b"one").replace(b"Host: x", b"Host: x\r\nx-consul-token: other")
    goes_long(
        lane,
        data,
        CIMultiDict(HEADERS | {"x-consul-token": "other", "Authorization": "Bearer one"}),
    )
    assert lane.take(data) is None
    data = token(b"two").replace(b"Host: x", b"Host: x\r\nAuthorization: Bearer one")
    headers = HEADERS | {"X-Consul-Token": "two", "Authorization": "Bearer one"}
    goes_long(lane, data, CIMultiDict(headers))
    seen = lane.take(data.replace(b"two", b"three"))
    assert seen is not None and seen.token == "three" and not seen.head.quiet


@given(
    st.lists(
        st.sampled_from(
            ["token=a-1", "token=b", "token=", "token", "Token=c", "%74oken=d", "token=%61", "raw",
             "token=a+b", "dc=dc1", "x=token=e", "", "token==", "+token=f", "index=1"]
        ),
        max_size=5,
    )
)  # fmt: skip
def test_a_token_that_is_cut_out_of_a_target_is_the_one_that_counts(parts: list[str]) -> None:
    query = "&".join(parts)
    cut = target_token(f"/v1/kv/a?{query}".encode())
    whole = parse_query(query)
    if parts in (["token=b"], ["raw", "token=a-1"]):
        assert cut is not None
    if cut is not None:
        path, _, rest = cut[0].decode().partition("?")
        assert (path, cut[1]) == ("/v1/kv/a", whole.get("token"))
        left = {name: values for name, values in whole._values.items() if name != "token"}
        assert parse_query(rest)._values == left


def test_known_heads_are_bounded() -> None:
    heads = Heads()
    for number in range(2 * HEADS_MAX):
        heads.learn(b"GET", b"%d" % number, Head({}, 0))
    assert len(heads) == HEADS_MAX


pieces = st.sampled_from(
    [
        GET,
        put(b"hello"),
        token(b"one"),
        b"\r\nX-Consul-Token: ",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"GET ",
        b"HTTP/1.1",
        b"Content-Length: 1",
    ]
)


@given(st.lists(pieces, max_size=6).map(b"".join))
def test_whatever_is_taken_is_one_whole_request(data: bytes) -> None:
    lane = Lane(Heads())
    goes_long(lane, GET, HEADERS)
    goes_long(lane, put(b"hello"), HEADERS, 5)
    goes_long(lane, token(b"two"), HEADERS | {"X-Consul-Token": "two"})
    seen = lane.take(data)
    if seen is not None:
        head = data[: len(data) - len(seen.body)]
        assert head.endswith(b"\r\n\r\n") and head.count(b"\r\n\r\n") == 1
        assert head.split(b"\r\n")[1:-2] in (
            [b"Host: x"],
            [b"Host: x", b"Content-Length: %d" % len(seen.body), b"A: b"],
            [b"Host: x", b"X-Consul-Token: " + seen.token.encode()],
        )


@given(
    st.lists(
        st.sampled_from(
            [
                GET,
                put(b"hello"),
                put(b"hallo", b"/v1/kv/other?x"),
                put(b"hi"),
                put(b"hello").replace(b"PUT ", b"PUT"),
                put(b"hello").replace(b"PUT", b"POST"),
                put(b"hello").replace(b"1.1", b"1.0"),
                put(b"hello", b"/" + b"x" * 5000),
                put(b"hello")[:-1],
                put(b"hello") + b"x",
                token(b"one"),
                token(b"three"),
                token(b"a b"),
            ]
        ),
        max_size=8,
    )
)
def test_the_request_before_makes_no_difference(requests: list[bytes]) -> None:
    heads = Heads()
    used = Lane(heads)
    goes_long(used, GET, HEADERS)
    goes_long(used, put(b"hello"), HEADERS, 5)
    goes_long(used, token(b"two"), HEADERS | {"X-Consul-Token": "two"})
    for data in requests:
        assert used.take(data) == Lane(heads).take(data)


@pytest.mark.parametrize(
    "name", ["X-Consul-Token", "authorization", "x-consul-namespace", "Cache-Control"]
)
def test_a_head_that_says_who_asks_or_how_to_answer_is_not_quiet(name: str) -> None:
    assert Head(CIMultiDict({"Host": "x"}), 0).quiet
    assert not Head(CIMultiDict({"Host": "x", name: ""}), 0).quiet
