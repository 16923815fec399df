"""Serial numbers of leaves: made unique by the replicated counter, shown as clients know them."""

from __future__ import annotations


def colons(data: bytes) -> str:
    """Bytes as lower-case hex with colons."""
    return data.hex(":")


def serial_hex(serial: int) -> str:
    """A serial number as clients see it: bytes in hex with colons."""
    return colons(serial.to_bytes(max(1, (serial.bit_length() + 7) // 8), "big"))


def compose_serial(random_64: int, counter: int) -> int:
    """A leaf's serial (contract A.9): random bits above, the replicated counter below.

    The top bit of the random half is dropped so that the number stays positive in 16 bytes of DER,
    and its lowest bit is set so that the upper half is never empty.
    """
    assert 0 <= random_64 < 1 << 64
    assert 0 <= counter < 1 << 64
    return ((random_64 & ((1 << 63) - 1)) | 1) << 64 | counter
