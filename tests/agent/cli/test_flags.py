"""Flags as Go's flag package reads them, in the words that users of Consul know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.flags import Flag, FlagError, HelpWanted, Kind, parse

FLAGS = (
    Flag("name", ""),
    Flag("dev", "", Kind.BOOL),
    Flag("port", "", Kind.INT),
    Flag("index", "", Kind.UINT),
    Flag("join", "", Kind.LIST),
    Flag("meta", "", Kind.MAP),
    Flag("count", "", Kind.COUNT),
    Flag("pause", "", Kind.DURATION),
)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["-name", "a"], "name", "a"),
        (["--name=a"], "name", "a"),
        (["-name="], "name", ""),
        (["-name", "-dev"], "name", "-dev"),
        (["-dev"], "dev", True),
        (["-dev=false"], "dev", False),
        (["-port=0x10"], "port", 16),
        (["-port", "010"], "port", 8),
        (["-port=-1"], "port", -1),
        (["-join=a", "--join", "b"], "join", ["a", "b"]),
        (["-meta=a=b=c", "-meta", "d="], "meta", {"a": "b=c", "d": ""}),
        ([], "index", 0),
        ([], "count", 0),
        (["-count=12"], "count", 12),
        (["-pause=1m30s"], "pause", "1m30s"),
    ],
)
def test_a_flag_is_read_in_every_spelling(words: list[str], name: str, value: object) -> None:
    assert parse(FLAGS, words)[name] == value


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-nme"], "flag provided but not defined: -nme"),
        (["-name"], "flag needs an argument: -name"),
        (["---name"], "bad flag syntax: ---name"),
        (["-=a"], "bad flag syntax: -=a"),
        (["-dev=maybe"], 'invalid boolean value "maybe" for -dev: parse error'),
        (["-port=x"], 'invalid value "x" for flag -port: parse error'),
        (
            ["-count=-1"],
            'invalid value "-1" for flag -count: strconv.ParseUint: parsing "-1": invalid syntax',
        ),
        (
            ["-count=99999999999999999999"],
            'invalid value "99999999999999999999" for flag -count: strconv.ParseUint: '
            'parsing "99999999999999999999": value out of range',
        ),
        (["-pause=x"], 'invalid value "x" for flag -pause: time: invalid duration "x"'),
        (["-index=-1"], 'invalid value "-1" for flag -index: parse error'),
        (
            ["-port=99999999999999999999"],
            'invalid value "99999999999999999999" for flag -port: value out of range',
        ),
        (
            ["-meta", "a"],
            'invalid value "a" for flag -meta: Missing "=" value in argument: a',
        ),
    ],
)
def test_what_cannot_be_read_is_told(words: list[str], text: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(FLAGS, words)
    assert str(caught.value) == text


@pytest.mark.parametrize("word", ["-h", "--help", "-help"])
def test_help_is_asked_for(word: str) -> None:
    with pytest.raises(HelpWanted):
        parse(FLAGS, [word])


def test_flags_may_stand_anywhere_where_a_command_says_so() -> None:
    words = ["acl", "-name", "x", "key", "-yes", "read", "--", "-name"]
    flags = (Flag("name", ""), Flag("yes", "", Kind.BOOL))
    found = parse(flags, words, anywhere=True)
    assert (found.text("name"), found["yes"]) == ("x", True)
    assert found.rest == ("acl", "key", "read", "-name")
    assert parse(flags, words).rest == tuple(words)


def test_flags_end_at_the_first_word_or_at_two_dashes() -> None:
    assert parse(FLAGS, ["-dev", "key", "-dev=false"]).rest == ("key", "-dev=false")
    assert parse(FLAGS, ["-dev", "--", "-name"]).rest == ("-name",)
    assert parse(FLAGS, ["-"]).rest == ("-",)
    parsed = parse(FLAGS, ["-join=a", "-dev=false", "-join=b"])
    assert parsed.given == (("join", "a"), ("dev", False), ("join", "b"))
    assert parsed.was_given("dev")
    assert not parsed.was_given("name")


@given(st.lists(st.text(max_size=12), max_size=6))
def test_no_command_line_raises_anything_else(words: list[str]) -> None:
    try:
        parsed = parse(FLAGS, words)
    except (FlagError, HelpWanted):
        return
    assert list(parsed.rest) == words[len(words) - len(parsed.rest) :]
