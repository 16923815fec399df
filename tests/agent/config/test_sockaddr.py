"""Address templates on hosts with known interfaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.sockaddr import TemplateError, expand, private_addresses
from tests.agent.config.hosts import ETH0, ETH1, LOOPBACK, PUBLIC, V6

ALL = (LOOPBACK, ETH0, ETH1, PUBLIC, V6)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("{{ GetPrivateIP }}", "10.0.0.5"),
        ("{{GetPublicIP}}", ""),  # it is not on the default route
        ('{{ GetInterfaceIP "eth1" }}', "192.168.1.7"),
        ('{{ GetInterfaceIP "none" }}', ""),
        ('127.0.0.1 {{ GetInterfaceIP "eth1" }}', "127.0.0.1 192.168.1.7"),
        (
            '{{ GetAllInterfaces | include "network" "192.168.0.0/16" | attr "address" }}',
            "192.168.1.7",
        ),
        (
            '{{ GetPrivateInterfaces | include "type" "IPv4" | join "address" " " }}',
            "10.0.0.5",
        ),
        (
            '{{ GetAllInterfaces | exclude "name" "^(lo|eth0|eth2)$" | limit 1 | attr "address" }}',
            "192.168.1.7",
        ),
    ],
)
def test_a_template_finds_addresses(text: str, value: str) -> None:
    assert expand(text, ALL) == value


@pytest.mark.parametrize(
    "text",
    [
        "{{ GetNothing }}",
        "{{ }}",
        "{{ GetPrivateIP | }}",
        "{{ GetInterfaceIP }}",
        '{{ GetAllInterfaces | include "network" "x" }}',
        '{{ GetAllInterfaces | limit "x" }}',
        '{{ GetAllInterfaces | include "name" "(" }}',
        "{{ GetPrivateIP }}" + " " * 5000,
    ],
)
def test_a_template_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(TemplateError):
        expand(text, ALL)


def test_private_addresses_leave_out_loopback_and_public_ones() -> None:
    assert private_addresses(ALL, version=4) == ["10.0.0.5", "192.168.1.7"]
    assert private_addresses(ALL, version=6) == ["fd00::5"]


@given(st.text(st.sampled_from('{}| "`GetPrivateIP lmt1joinaddress'), max_size=50))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        assert isinstance(expand(text, ALL), str)
    except TemplateError:
        pass


@pytest.mark.parametrize("text", ["{{ GetPrivateIP", "{{ GetPrivateIP }} {{", "a {{"])
def test_a_template_that_does_not_end_is_told(text: str) -> None:
    with pytest.raises(TemplateError, match="unclosed action"):
        expand(text, ALL)
