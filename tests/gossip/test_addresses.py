"""Addresses as people and sockets write them."""

from __future__ import annotations

import pytest

from gossip import addresses
from gossip.effects import Address
from gossip.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("host", ("host", 7946)),
        ("10.0.0.1:99", ("10.0.0.1", 99)),
        ("[::1]:99", ("::1", 99)),
        ("[::1]", ("::1", 7946)),
        ("::1", ("::1", 7946)),
        ("name/host:99", ("host", 99)),
        (" host ", ("host", 7946)),
    ],
)
def test_every_form_of_a_join_address_is_read(text: str, wanted: tuple[str, int]) -> None:
    assert addresses.parse_join_address(text, 7946) == wanted


@pytest.mark.parametrize(
    "text", ["", ":99", "h:0", "h:65536", "h:x", "h:-1", "[::1", "[::1]x", "h:²"]
)
def test_a_bad_join_address_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError):
        addresses.parse_join_address(text, 7946)


def test_addresses_of_no_member_have_no_socket_address() -> None:
    assert addresses.socket_address(Address(bytes((127, 0, 0, 1)), 5)) == ("127.0.0.1", 5)
    mapped = bytes(10) + b"\xff\xff\x7f\x00\x00\x01"
    assert addresses.socket_address(Address(mapped, 5)) == ("127.0.0.1", 5)
    for ip, port in [(b"", 5), (bytes(4), 5), (bytes((224, 0, 0, 1)), 5), (bytes((1, 2, 3, 4)), 0)]:
        assert addresses.socket_address(Address(ip, port)) is None


def test_ipv4_is_always_four_bytes() -> None:
    assert addresses.pack_ip("127.0.0.1") == addresses.pack_ip("::ffff:127.0.0.1")
    assert len(addresses.pack_ip("::1")) == 16
