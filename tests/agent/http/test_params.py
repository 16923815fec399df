"""The query string and the parameters every read has."""

from __future__ import annotations

import random
from urllib.parse import parse_qs, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backend import Ask, Consistency
from agent.errors import RequestError
from agent.http import params
from agent.http.params import Params, ask_options, parse_query


def ask(query: str, cache_control: str = "") -> Ask:
    return ask_options(
        parse_query(query),
        cache_control,
        default_s=300.0,
        max_s=600.0,
        rng=random.Random(1),
    )


def refusal(query: str, cache_control: str = "") -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        ask(query, cache_control)
    return caught.value.status, caught.value.text


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=5)), max_size=6))
def test_a_query_string_reads_back_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    written = "&".join(
        f"{quote_plus(name, errors='replace')}={quote_plus(value, errors='replace')}"
        for name, value in pairs
    )
    found = parse_query(written)
    for name, values in parse_qs(written, keep_blank_values=True).items():
        assert found.all(name) == tuple(values)


@pytest.mark.parametrize("query", ["%zz", "a=%", "a=%2", "%g0=1"])
def test_a_broken_escape_is_500_without_a_text(query: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_query(query)
    assert (caught.value.status, caught.value.text) == (500, "")


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(RequestError):
        parse_query("a&" * (params.PARAMS_MAX + 1))


@pytest.mark.parametrize(
    ("query", "mode"),
    [
        ("", Consistency.DEFAULT),
        ("leader", Consistency.DEFAULT),
        ("stale", Consistency.STALE),
        ("stale=false", Consistency.STALE),
        ("consistent", Consistency.CONSISTENT),
        ("max_stale=5s", Consistency.STALE),
        ("cached", Consistency.DEFAULT),
    ],
)
def test_presence_alone_chooses_the_consistency(query: str, mode: Consistency) -> None:
    assert ask(query).consistency is mode


def test_max_stale_bounds_the_age() -> None:
    assert ask("max_stale=1m30s").max_stale_s == 90.0
    assert ask("stale").max_stale_s is None


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
        ("cached&consistent", "Cannot specify ?cached with ?consistent, conflicting semantics."),
        ("max_stale=zz", 'Invalid max_stale value "zz"'),
        ("wait=10", "Invalid wait time"),
        ("index=1&wait=abc", "Invalid wait time"),
        ("index=abc", "Invalid index"),
        ("index=-1", "Invalid index"),
        ("index=18446744073709551616", "Invalid index"),
        ("index=abc&wait=10", "Invalid wait time"),
    ],
)
def test_bad_parameters_are_400_in_the_contracts_words(query: str, text: str) -> None:
    assert refusal(query) == (400, text)


def test_a_bad_cache_control_is_refused_also_without_cached() -> None:
    assert refusal("", "max-age=abc") == (400, "Invalid Cache-Control header.")
    assert refusal("cached", "stale-if-error=") == (400, "Invalid Cache-Control header.")
    assert ask("cached", "max-age=30, must-revalidate").consistency is Consistency.DEFAULT


def test_index_zero_or_absent_answers_at_once() -> None:
    assert ask("wait=10s").min_index == 0
    assert ask("index=0&wait=10s").min_index == 0


@pytest.mark.parametrize(
    ("query", "wait_s"),
    [("index=1", 300.0), ("index=1&wait=2s", 2.0), ("index=1&wait=1h", 600.0),
     ("index=1&wait=0s", 300.0), ("index=1&wait=-1s", 300.0)],
)  # fmt: skip
def test_the_wait_has_a_default_a_limit_and_a_sixteenth_of_jitter(
    query: str, wait_s: float
) -> None:
    found = ask(query)
    assert found.min_index == 1
    assert wait_s < found.wait_s <= wait_s * (1 + 1 / 16)


def test_the_jitter_is_random() -> None:
    rng = random.Random(2)
    assert len({params.jittered(10.0, rng) for _ in range(20)}) == 20


@pytest.mark.parametrize("text", ["abc", "-1", "", "1.5", "0x10", "\u0661"])
def test_a_number_that_is_none_is_quoted_as_go_does(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        params.parse_uint(text)
    assert caught.value.status == 500
    assert caught.value.text == f'strconv.ParseUint: parsing "{text}": invalid syntax'


def test_a_number_beyond_64_bits_is_out_of_range() -> None:
    assert params.parse_uint(str(2**64 - 1)) == 2**64 - 1
    for text in (str(2**64), "9" * 5000):
        with pytest.raises(RequestError, match="value out of range"):
            params.parse_uint(text)


def test_node_meta_must_all_match_and_a_bare_key_wants_the_empty_value() -> None:
    wanted = params.node_meta(parse_query("node-meta=a:1&node-meta=b"))
    assert wanted == (("a", "1"), ("b", ""))
    assert params.has_meta({"a": "1", "b": ""}, wanted)
    assert not params.has_meta({"a": "1"}, wanted)
    assert not params.has_meta(None, wanted)
    assert params.has_meta(None, ())


def test_conflicts_quote_the_query_sorted() -> None:
    assert parse_query("cas=0&acquire=x").encode() == "acquire=x&cas=0"
    assert parse_query("recurse&cas=1").encode() == "cas=1&recurse="


def test_namespaces_are_refused() -> None:
    with pytest.raises(RequestError) as caught:
        params.refuse_enterprise(parse_query("ns=foo"), {})
    assert caught.value.status == 400
    assert caught.value.text.startswith('Bad request: Invalid query parameter: "ns" - ')
    params.refuse_enterprise(parse_query("ns="), {})
    with pytest.raises(RequestError, match='Invalid header: "X-Consul-Partition" - Partitions'):
        params.refuse_enterprise(parse_query(""), {"X-Consul-Partition": "x"})


@pytest.mark.parametrize(
    ("query", "value"),
    [("", None), ("x", True), ("x=true", True), ("x=0", False), ("x=F", False), ("x=maybe", None)],
)
def test_flags_follow_go(query: str, value: bool | None) -> None:
    assert parse_query(query).flag("x") is value
    assert isinstance(parse_query(query), Params)


@pytest.mark.parametrize(
    ("header", "max_age_s", "stale_if_error_s"),
    [
        ("", None, 0.0),
        ("max-age=30", 30.0, 0.0),
        ("Max-Age=0, stale-if-error=60", 0.0, 60.0),
        ("must-revalidate", 0.0, 0.0),
        ("no-cache", None, 0.0),
    ],
    ids=["none", "an age", "fresh or an old one", "revalidate", "another word"],
)
def test_cache_control_says_what_a_reader_accepts(header, max_age_s, stale_if_error_s) -> None:
    found = params.freshness(header)
    assert (found.max_age_s, found.stale_if_error_s) == (max_age_s, stale_if_error_s)
