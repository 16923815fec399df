"""What a tap shows, and what it does not."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry import tap
from proxy.telemetry.entry import IN, Entry

SECRET = "b1d7a3e0-5a52-4c0c-9d1c-0d6f3a1e8f11"


def test_no_value_of_a_query_and_no_secret_is_shown() -> None:
    path = f"/a/{SECRET}/b?token={SECRET}&x&y=1"
    entry = Entry(at=0.0, direction=IN, service="db", path=path)
    line = tap.line(entry)
    assert SECRET not in line and "y=1" not in line
    assert json.loads(line)["path"] == (
        "/a/<redacted>/b?token=<redacted>&x=<redacted>&y=<redacted>"
    )
    assert tap.redacted("/plain/path") == "/plain/path"


@given(st.text("abc/?&=%", max_size=30), st.text("abcdef0123456789", min_size=40, max_size=60))
def test_a_secret_anywhere_is_left_out(path: str, secret: str) -> None:
    for target in (
        f"/{path}?q={secret}",
        f"/{secret}?{path}",
        f"/x?{secret}",
        f"/x?a=1&{secret}=2",
    ):
        assert secret not in tap.redacted(target)
