"""Request identities: unique, and the floor never passes an open request."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.backend.requests import RequestIds


@given(st.lists(st.integers(-1, 20), max_size=60))
def test_the_floor_is_the_oldest_request_that_may_be_retried(script: list[int]) -> None:
    ids = RequestIds("me")
    held = []
    seen: set[int] = set()
    for step in script:
        if step < 0 or not held:
            request = ids.begin()
            assert request.counter not in seen
            seen.add(request.counter)
            held.append(request)
            assert request.floor == min(r.counter for r in held)
        else:
            ids.end(held.pop(step % len(held)))
