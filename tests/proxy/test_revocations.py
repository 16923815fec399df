"""Which certificates the deny list means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connect import serials
from proxy.certificate import PeerCertificate
from proxy.revocations import BACKDATE_S, NONE, of_entries, read_serial
from proxy.spiffe import SpiffeId

WEB = SpiffeId.service("t.consul", "dc1", "web")


def certificate(serial: int = 1, *, issued_at: float = 1000.0) -> PeerCertificate:
    return PeerCertificate(WEB, serial, 1e12, issued_at - BACKDATE_S)


@given(st.integers(1, 2**159 - 1))
def test_a_serial_is_read_as_it_is_shown(serial: int) -> None:
    assert read_serial(serials.serial_hex(serial)) == serial
    assert read_serial(f"{serial:X}") == serial


@given(st.text(max_size=50))
def test_any_text_is_a_serial_or_refused(text: str) -> None:
    try:
        assert read_serial(text) > 0
    except ValueError:
        pass


@pytest.mark.parametrize("text", ["", "0", "00:00", "xyz", "1" * 41, "-1", "0x1", "1_0", "\u0661"])
def test_what_is_no_serial(text: str) -> None:
    with pytest.raises(ValueError, match=r"serial number|invalid literal"):
        read_serial(text)


def test_a_serial_denies_one_certificate() -> None:
    listed = of_entries([("0a:0b", "", 0.0)])
    assert "serial a0b" in listed.why(certificate(0x0A0B))
    assert listed.why(certificate(0x0A0C)) == ""
    assert NONE.why(certificate()) == ""


def test_an_id_denies_what_was_issued_before() -> None:
    listed = of_entries([("", WEB.uri, 1000.5), ("", WEB.uri, 500.0)])
    assert "issued so far" in listed.why(certificate(issued_at=1000.0)), "the later moment counts"
    assert listed.why(certificate(issued_at=1001.0)) == ""
    other = of_entries([("", SpiffeId.service("t.consul", "dc2", "web").uri, 1e9)])
    assert other.why(certificate()) == ""


def test_a_list_that_cannot_be_read_is_refused_as_a_whole() -> None:
    with pytest.raises(ValueError, match="scheme"):
        of_entries([("0a", "", 0.0), ("", "http://x", 0.0)])
