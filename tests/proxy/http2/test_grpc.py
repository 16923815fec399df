"""What a proxy knows of gRPC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.head import Request
from proxy.http2 import grpc
from proxy.l7.retries import Failure, RetryPolicy, wanted


def call(timeout: str | None = None, kind: str = "application/grpc") -> Request:
    headers = [("content-type", kind)]
    if timeout is not None:
        headers.append(("grpc-timeout", timeout))
    return Request("POST", "/a/B", 1, tuple(headers))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("500m", 0.5), ("7u", 7e-6), ("99999999n", 0.099999999)],
)
def test_deadlines_are_read(text: str, seconds: float) -> None:
    assert grpc.timeout_s(call(text)) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "S", "-1S", "123456789S", "1s", "1.5S", "1S 2S", None])
def test_what_is_no_deadline_is_none(text: str | None) -> None:
    assert grpc.timeout_s(call(text)) is None


def test_a_deadline_only_lowers() -> None:
    assert grpc.lowered(15.0, call("1S")) == 1.0
    assert grpc.lowered(15.0, call("1M")) == 15.0
    assert grpc.lowered(0.0, call("1M")) == 60.0
    assert grpc.lowered(15.0, call("1S", "text/plain")) == 15.0
    assert grpc.lowered(15.0, call("0S")) == 0.001


def test_who_calls() -> None:
    assert grpc.asks(call()) and grpc.asks(call(kind="application/grpc+proto"))
    assert not grpc.asks(call(kind="application/grpc-web")) and not grpc.asks(call(kind=""))


def test_an_error_is_told_in_headers() -> None:
    told = dict(grpc.answer(403, "RBAC: access denied"))
    assert told["grpc-status"] == "7" and told["grpc-message"] == "RBAC: access denied"
    assert dict(grpc.answer(504, "50% ü"))["grpc-message"] == "50%25 %C3%BC"
    assert dict(grpc.answer(418, ""))["grpc-status"] == "2"


@given(st.text(max_size=12))
def test_a_status_is_a_number_or_nothing(text: str) -> None:
    found = grpc.number(text)
    assert found is None or str(found) == str(int(text))


def test_a_route_may_name_the_statuses_that_are_tried_again() -> None:
    failure = Failure(status=200, grpc=grpc.UNAVAILABLE)
    assert wanted(RetryPolicy(retries=1), "POST", failure)
    assert not wanted(RetryPolicy(), "POST", failure)
    assert wanted(
        RetryPolicy(retries=1, conditions=frozenset({"resource-exhausted"})),
        "POST",
        Failure(status=200, grpc=grpc.RESOURCE_EXHAUSTED),
    )
    named = RetryPolicy(retries=1, conditions=frozenset({"5xx"}))
    assert not wanted(named, "POST", failure)
    assert not wanted(RetryPolicy(retries=1), "POST", Failure(status=200, grpc=grpc.INTERNAL))
