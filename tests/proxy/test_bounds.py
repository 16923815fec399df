"""Bounds of a sidecar are changed by their names, and by no others."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.bounds import UnknownBound, bounded, flat, named, read
from proxy.config import ProxyConfig

DEFAULTS = named(ProxyConfig())
LIMITS = Path(__file__).parents[2] / "docs" / "operate" / "limits.md"


@given(st.dictionaries(st.sampled_from(sorted(DEFAULTS)), st.integers(0, 1 << 40)))
def test_what_is_named_changes_and_nothing_else(given_: dict[str, int]) -> None:
    made = named(bounded(ProxyConfig(), {name: float(value) for name, value in given_.items()}))
    assert made == {**DEFAULTS, **given_}
    assert all(type(made[name]) is type(DEFAULTS[name]) for name in made)


@given(st.dictionaries(st.sampled_from(sorted(DEFAULTS)), st.integers(0, 1 << 40)))
def test_names_survive_a_command_line(given_: dict[str, int]) -> None:
    texts = [f"{name}={value!r}" for name, value in given_.items()]
    assert dict(read(text) for text in texts) == given_


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("workers", 2, 'there is no bound "workers"'),
        ("http.nothing", 2, 'there is no bound "http.nothing"'),
        ("http_limits", 2, 'there is no bound "http_limits"'),
        ("handshakes_max", 1.5, "handshakes_max must be a whole number, not 1.5"),
        ("http.head_timeout_s", -1, "http.head_timeout_s must not be less than 0"),
        ("http.head_timeout_s", math.inf, "http.head_timeout_s must not be less than 0"),
        ("handshakes_max", math.nan, "handshakes_max must not be less than 0"),
    ],
)
def test_others_are_refused_in_words(name: str, value: float, says: str) -> None:
    with pytest.raises(UnknownBound) as caught:
        bounded(ProxyConfig(), {name: value})
    assert str(caught.value).startswith(says)


def test_maps_of_maps_are_names_with_dots() -> None:
    told = {"handshakes_max": 1, "http": {"head_timeout_s": 2.5}, "http2": [{"streams_max": 3}]}
    expected = {"handshakes_max": 1, "http.head_timeout_s": 2.5, "http2.streams_max": 3}
    assert flat(told) == expected
    for wrong in ({"a": "1"}, {"a": True}, {"a": [1]}, {"a": {"b": None}}):
        with pytest.raises(UnknownBound, match="must be a number"):
            flat(wrong)
    for text in ("", "a", "a=", "a=b"):
        with pytest.raises(UnknownBound, match="is given as"):
            read(text)


def test_each_is_in_the_documentation_with_its_default() -> None:
    text = LIMITS.read_text()
    missing = [f"`{name}` {value:g}" for name, value in DEFAULTS.items()
               if f"`{name}` {value!r}" not in text]  # fmt: skip
    assert not missing
