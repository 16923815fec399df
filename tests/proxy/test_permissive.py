"""Connections in clear where mutual TLS is not demanded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.permissive import Way, way

HELLO = b"\x16\x03\x01"


def test_clear_text_counts_only_where_the_application_was_meant() -> None:
    assert way(b"GET /", meant_port=8080, app_port=8080) is Way.CLEAR
    assert way(b"GET /", meant_port=21000, app_port=8080) is Way.TLS
    assert way(b"GET /", meant_port=0, app_port=0) is Way.TLS  # nobody led it here
    assert way(HELLO, meant_port=8080, app_port=8080) is Way.TLS


def test_whoever_is_silent_may_be_waiting_for_the_application() -> None:
    assert way(b"", meant_port=8080, app_port=8080) is Way.WAIT
    assert way(b"", meant_port=8080, app_port=8080, late=True) is Way.CLEAR
    assert way(b"", meant_port=21000, app_port=8080, late=True) is Way.TLS


@given(st.binary(max_size=4), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_nothing_reaches_the_application_in_clear_by_another_port(
    first: bytes, meant: int, app: int, late: bool
) -> None:
    if way(first, meant_port=meant, app_port=app, late=late) is Way.CLEAR:
        assert meant == app != 0 and first[:1] != b"\x16"
