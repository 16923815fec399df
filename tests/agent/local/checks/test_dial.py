"""Go's words for failed connections."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.local.checks.dial import dial_error, join_host_port, split_host_port


def test_errors_read_as_in_go() -> None:
    refused = OSError(errno.ECONNREFUSED, "Connection refused")
    assert dial_error("127.0.0.1:1", refused) == (
        "dial tcp 127.0.0.1:1: connect: connection refused"
    )
    assert dial_error("a:1", TimeoutError()) == "dial tcp a:1: i/o timeout"
    assert dial_error("a:1", OSError(errno.EPIPE, "Broken pipe")) == "dial tcp a:1: Broken pipe"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x", "dial tcp: address x: missing port in address"),
        ("[::1]", "dial tcp: address [::1]: missing port in address"),
        ("::1:80", "dial tcp: address ::1:80: too many colons in address"),
        ("x:http-no", "dial tcp: lookup tcp/http-no: unknown port"),
        ("x:70000", "dial tcp: lookup tcp/70000: unknown port"),
    ],
)
def test_a_bad_address_is_told_as_in_go(text, error) -> None:
    with pytest.raises(ValueError) as refused:
        split_host_port(text)
    assert str(refused.value) == error


@given(st.sampled_from(["127.0.0.1", "::1", "web.local"]), st.integers(0, 65535))
def test_host_and_port_come_back(host, port) -> None:
    assert split_host_port(join_host_port(host, port)) == (host, port)
