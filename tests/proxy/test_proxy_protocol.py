"""The PROXY protocol: what is written is read, and nothing else is."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.proxy_protocol import (
    SIGNATURE,
    TLV_SPIFFE,
    V1_MAX,
    BadPreface,
    Preface,
    begins,
    read,
    v2,
)

PORTS = st.integers(0, 65535)
V4 = st.tuples(st.ip_addresses(v=4).map(str), PORTS)
V6 = st.tuples(st.ip_addresses(v=6).map(str), PORTS)
PAIRS = st.tuples(V4, V4) | st.tuples(V6, V6)
TLVS = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60)), max_size=4)


@given(PAIRS, TLVS, st.binary(max_size=20))
def test_version_2_there_and_back(
    pair: tuple[tuple[str, int], tuple[str, int]], tlvs: list[tuple[int, bytes]], rest: bytes
) -> None:
    raw = v2(*pair, tlvs)
    assert read(raw + rest) == Preface(len(raw), *pair, tuple(tlvs))
    for end in range(len(raw)):
        assert read(raw[:end]) is None, "it is not whole yet"


@given(PAIRS)
def test_version_1(pair: tuple[tuple[str, int], tuple[str, int]]) -> None:
    (source, source_port), (target, target_port) = pair
    family = "TCP6" if ":" in source else "TCP4"
    raw = f"PROXY {family} {source} {target} {source_port} {target_port}\r\n".encode()
    assert read(raw + b"GET /") == Preface(len(raw), *pair)
    for end in range(len(raw)):
        assert read(raw[:end]) is None


def test_what_says_nothing_of_a_client() -> None:
    assert read(b"PROXY UNKNOWN whatever\r\nx") == Preface(24)
    local = SIGNATURE + b"\x20\x00\x00\x03abc"
    assert read(local + b"x") == Preface(19)
    assert read(v2(None, None)) == Preface(16)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.04 1 2\r\n",
        b"PROXY " + b"x" * V1_MAX,
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
        SIGNATURE + b"\x21\x11\x20\x00",
        SIGNATURE + b"\x21\x11\x00\x0e" + bytes(14),
    ],
)
def test_everything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(BadPreface):
        read(raw)


@given(st.binary(max_size=200))
@example(SIGNATURE)
def test_arbitrary_bytes_never_do_more_than_be_refused(raw: bytes) -> None:
    try:
        found = read(raw)
    except BadPreface:
        return
    if found is not None:
        assert found.size <= len(raw)
    assert begins(raw) is not False


def test_our_own_kinds_fit_into_what_is_left() -> None:
    raw = v2(("1.2.3.4", 5), ("6.7.8.9", 10), [(TLV_SPIFFE, b"spiffe://a/b")])
    found = read(raw)
    assert found is not None
    assert dict(found.tlvs)[TLV_SPIFFE] == b"spiffe://a/b"
