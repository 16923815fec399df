"""Values become the bytes that the RFCs ask for."""

import pytest

from agent.dns import records


@pytest.mark.parametrize("text", ["", "a..b", "." * 3, "x" * 64 + ".b", ".".join(["abc"] * 90)])
def test_what_cannot_be_a_name_is_none(text: str) -> None:
    assert records.name_wire(text) is None


def test_a_name_keeps_its_capitals() -> None:
    assert records.name_wire("Web.Consul") == records.name_wire("Web.Consul.") == b"\3Web\6Consul\0"


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("10.0.0.1", b"\x0a\0\0\1"),
        ("::1", b"\0" * 15 + b"\1"),
        ("::ffff:192.0.2.1", b"\xc0\0\2\1"),
        ("www.example.net", None),
        ("1.2.3", None),
        ("", None),
    ],
)
def test_addresses_and_host_names_are_told_apart(text: str, packed: bytes | None) -> None:
    assert records.address_bytes(text) == packed


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("a", "x=y", "a=x=y"),
        ("tick`", "b`", "tick``=b``"),
        ("a=b", "c", "a`=b=c"),
        (" a ", "b", "` a` =b"),
        ("RFC1035-x", "alone", "alone"),
    ],
)
def test_metadata_is_quoted_as_rfc_1464_says(key: str, value: str, text: str) -> None:
    assert records.meta_text(key, value) == text


def test_a_long_text_is_cut_into_parts_of_255_bytes() -> None:
    record = records.txt(b"\0", 0, "x" * 300)
    assert record.tail[10] == 255
    assert record.tail[10 + 256] == 45
