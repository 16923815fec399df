"""Parts of what is written in one turn."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.tunnel.parts import PART_BYTES, parts


@settings(max_examples=25)
@given(st.lists(st.sampled_from([0, 1, 9, 16_384, 65_536, 300_000]), max_size=20))
def test_all_bytes_in_their_order_and_no_small_part_but_the_last(sizes: list[int]) -> None:
    chunks = [bytes([number]) * size for number, size in enumerate(sizes)]
    found = list(parts(chunks))
    assert b"".join(found) == b"".join(chunks)
    assert all(len(part) >= PART_BYTES for part in found[:-1])
    assert all(len(part) < PART_BYTES + 300_000 for part in found)
    assert all(found)
