"""Long replies are the same bytes as short ones, made bit by bit."""

from __future__ import annotations

import asyncio
import gzip
import json

from hypothesis import given
from hypothesis import strategies as st

from agent.http import reply as module
from agent.http.reply import PART_ITEMS, Reply, gzipped, json_bytes, json_object_parts, json_parts

texts = st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(values, max_size=7), st.sampled_from([0, 1, PART_ITEMS]), st.booleans())
def test_parts_of_an_array_are_its_text(items, many, pretty):
    items = items * many
    assert b"".join(json_parts(iter(items), pretty=pretty)) == json_bytes(items, pretty=pretty)


@given(st.dictionaries(texts, values, max_size=7), st.booleans(), st.booleans())
def test_parts_of_an_object_are_its_text(items, many, pretty):
    if many:
        items |= {f"name{number}": number for number in range(PART_ITEMS)}
    parts = json_object_parts(iter(items.items()), pretty=pretty)
    assert b"".join(parts) == json_bytes(items, pretty=pretty)


def test_a_long_reply_is_put_together_in_pieces(monkeypatch):
    monkeypatch.setattr(module, "PIECE_BYTES", 1000)
    monkeypatch.setattr(module, "SLICE_S", 0.0)
    turns = 0

    async def main() -> Reply:
        nonlocal turns
        reply = Reply(parts=json_parts(iter(range(5000))))
        loop = asyncio.get_running_loop()

        def turn() -> None:
            nonlocal turns
            turns += 1
            loop.call_soon(turn)

        loop.call_soon(turn)
        await reply.assemble()
        return reply

    reply = asyncio.run(main())
    whole = json.dumps(list(range(5000)), separators=(",", ":")).encode()
    assert reply.body + b"".join(reply.more) == whole
    assert reply.length == len(whole)
    assert len(reply.more) > 10
    assert turns > 50, "others had no turn"
    assert gzip.decompress(gzipped(reply.body, *reply.more)) == whole
