"""Serial numbers of leaves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.connect import serials


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_serials_are_positive_fit_der_and_keep_the_counter(high: int, counter: int) -> None:
    serial = serials.compose_serial(high, counter)
    assert 1 << 64 <= serial < 1 << 127
    assert serial & ((1 << 64) - 1) == counter
    assert int(serials.serial_hex(serial).replace(":", ""), 16) == serial
