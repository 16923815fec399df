"""The highest index of a prefix, against looking at every key."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.state import heights as module
from raftstore.state.heights import Heights, prefix_end
from tests.strategies import scaled

LAST = "\U0010ffff"
texts = st.text(alphabet=["a", "b", "/", "\ud7ff", LAST], max_size=5)


@given(prefix=texts, text=texts)
def test_the_end_of_a_prefix_parts_what_begins_with_it_from_what_follows(prefix, text):
    end = prefix_end(prefix)
    below = text >= prefix and (end is None or text < end)
    assert below == text.startswith(prefix)


@settings(max_examples=scaled(150), deadline=None)
@given(
    steps=st.lists(st.tuples(texts, st.integers(0, 40)), max_size=60),
    prefixes=st.lists(texts, min_size=1, max_size=5),
    block=st.sampled_from([1, 2, 5]),
)
def test_heights_are_as_if_every_key_were_looked_at(steps, prefixes, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        heights, model = Heights(), {}
        for key, index in steps:
            heights.put(key, index)
            if index:
                model[key] = index
            else:
                model.pop(key, None)
            heights.check()
            assert len(heights) == len(model)
            assert heights.get(key) == index
            for prefix in ("", *prefixes):
                found = max((i for k, i in model.items() if k.startswith(prefix)), default=0)
                assert heights.highest(prefix) == found
