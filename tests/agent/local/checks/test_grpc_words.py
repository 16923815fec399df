"""The health protocol's messages: whatever a server sends is a status or a GrpcError."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.local.checks import grpc_words


def framed(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


@given(st.text(max_size=300))
def test_a_request_carries_the_services_name(service: str) -> None:
    raw = grpc_words.request(service)
    assert raw[0] == 0 and int.from_bytes(raw[1:5], "big") == len(raw) - 5
    assert raw.endswith(service.encode())


@given(st.integers(0, 1 << 40), st.binary(max_size=20))
def test_the_status_is_found_among_other_fields(status: int, other: bytes) -> None:
    number, rest = status, bytearray(b"\x08")
    while number > 0x7F:
        rest.append(number & 0x7F | 0x80)
        number >>= 7
    rest.append(number)
    message = b"\x12" + bytes([len(other)]) + other + bytes(rest) + b"\x1d\x00\x00\x00\x00"
    assert grpc_words.serving_status(framed(message)) == status


@given(st.binary(max_size=64))
def test_whatever_comes_is_a_status_or_an_error(raw: bytes) -> None:
    with contextlib.suppress(grpc_words.GrpcError):
        assert grpc_words.serving_status(framed(raw)) >= 0
    with contextlib.suppress(grpc_words.GrpcError):
        assert grpc_words.serving_status(raw) >= 0


@pytest.mark.parametrize(
    ("headers", "output"),
    [
        ({"grpc-status": "0"}, ""),
        ({"grpc-status": "12"}, "rpc error: code = Unimplemented desc = "),
        ({"grpc-status": "99", "grpc-message": "x"}, "rpc error: code = Code(99) desc = x"),
        ({"grpc-status": "x"}, "rpc error: code = Unknown desc = "),
        ({}, "rpc error: code = Internal desc = server closed the stream without sending trailers"),
    ],
    ids=["well", "unimplemented", "unknown number", "no number", "no trailers"],
)
def test_a_failed_call_is_told_in_gos_words(headers: dict[str, str], output: str) -> None:
    assert grpc_words.failure(headers) == output
