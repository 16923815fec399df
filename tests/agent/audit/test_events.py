"""What an event says, and what it never says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.audit.events import WORD_CHARS_MAX, Request, hidden, line

REQUEST = Request(
    id="1", operation="PUT", endpoint="/v1/kv/a?token=s3cret&cas=0", address="10.0.0.1:5",
    user_agent="curl", host="h:8500",
)  # fmt: skip


def test_an_event_has_the_known_form() -> None:
    raw = line(REQUEST, now=1_700_000_000.5, accessor="a-1", status=403, reason="no rule matches")
    assert raw.endswith(b"}\n") and raw.count(b"\n") == 1
    event = json.loads(raw)
    assert event == {
        "created_at": "2023-11-14T22:13:20.500000Z",
        "event_type": "audit",
        "payload": {
            "id": "1",
            "version": "1",
            "type": "HTTPEvent",
            "timestamp": "2023-11-14T22:13:20.500000Z",
            "auth": {"accessor_id": "a-1"},
            "request": {
                "operation": "PUT",
                "endpoint": "/v1/kv/a?token=<hidden>&cas=0",
                "remote_addr": "10.0.0.1:5",
                "user_agent": "curl",
                "host": "h:8500",
            },
            "stage": "OperationComplete",
            "response": {"status": "403", "error": "no rule matches"},
        },
    }
    started = json.loads(line(REQUEST, now=0.0, accessor=""))["payload"]
    assert started["stage"] == "OperationStart" and "response" not in started


@pytest.mark.parametrize(
    "target",
    ["/v1/kv/a?token=s3cret", "/a?x=1&token=s3cret&y", "/a?TOKEN=s3cret", "/a?%74oken=s3cret",
     "/a?t%6Fken=s3cret&token=s3cret"],
)  # fmt: skip
def test_a_secret_in_a_target_is_hidden(target: str) -> None:
    assert "s3cret" not in hidden(target) and "<hidden>" in hidden(target)


@given(st.text(max_size=60), st.text(max_size=60))
def test_an_event_is_one_line_of_json_whatever_came(endpoint: str, agent: str) -> None:
    raw = line(
        Request(id="1", operation="GET", endpoint=endpoint, user_agent=agent), now=0.0, accessor=""
    )
    assert raw.count(b"\n") == 1 and json.loads(raw)


def test_long_words_are_cut() -> None:
    raw = line(Request(id="1", operation="GET", endpoint="/" + "a" * 100_000), now=0.0, accessor="")
    assert len(raw) < WORD_CHARS_MAX + 1000
