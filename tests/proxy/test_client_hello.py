"""Whom a TLS client asks for: on the hellos of a real client, cut anywhere and broken anywhere."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.client_hello import NoHello, server_name

NAME = "db.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul"


def hello(name: str | None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


HELLO = hello(NAME)


@pytest.mark.parametrize("name", [NAME, NAME.upper(), "a", None])
def test_the_name_of_a_real_client(name: str | None) -> None:
    assert server_name(hello(name)) == (name or "").lower()


def test_it_is_not_known_before_all_has_come() -> None:
    for size in range(len(HELLO)):
        assert server_name(HELLO[:size]) is None, size
    assert server_name(HELLO + b"more") == NAME


@given(st.integers(min_value=len(HELLO) // 30, max_value=300))
def test_a_hello_in_several_records(size: int) -> None:
    body = HELLO[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    records = [HELLO[:3] + len(piece).to_bytes(2) + piece for piece in pieces]
    assert server_name(b"".join(records)) == NAME
    assert server_name(b"".join(records[:-1])) is None


def test_one_in_very_many_pieces_is_nobodys() -> None:
    tiny = b"".join(HELLO[:3] + b"\x00\x01" + HELLO[at : at + 1] for at in range(5, len(HELLO)))
    with pytest.raises(NoHello):
        server_name(tiny)


@given(st.binary(max_size=80))
def test_nothing_else_is_taken_for_one(data: bytes) -> None:
    with contextlib.suppress(NoHello):
        assert server_name(data) is None or data[:1] == b"\x16"


@given(st.integers(0, len(HELLO) - 1), st.integers(0, 255))
def test_a_broken_byte_does_no_harm(at: int, value: int) -> None:
    broken = bytearray(HELLO)
    broken[at] = value
    with contextlib.suppress(NoHello):
        server_name(bytes(broken))


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"\x16\x02\x00\x00\x05hello", b"\x16\x03\x01\x00\x04\x02\0\0\0",
     b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", b"\x16\x03\x01\x00\x00"],
)  # fmt: skip
def test_what_is_no_hello_is_refused(data: bytes) -> None:
    with pytest.raises(NoHello):
        server_name(data)
