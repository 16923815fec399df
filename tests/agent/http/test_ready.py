"""Ready answers: the same bytes for the same question at the same index, within a budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.http.ready import BODY_MAX_BYTES, ReadyAnswers


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=40))
def test_an_answer_is_always_that_of_the_asked_index(asked: list[tuple[str, int]]) -> None:
    ready = ReadyAnswers(bytes_max=8)
    for question, index in asked:
        body = f"{question}{index}".encode()
        assert ready.get(question, index, lambda body=body: body) == body
        assert len(ready) <= 4


def test_an_answer_is_made_once_per_index() -> None:
    ready, made = ReadyAnswers(bytes_max=100), []
    for index in (1, 1, 2, 2, 1):
        ready.get("q", index, lambda: made.append(1) or b"x")
    assert len(made) == 3
    assert (ready.hits, ready.misses) == (2, 3)


def test_large_bodies_are_not_kept() -> None:
    ready = ReadyAnswers(bytes_max=10 * BODY_MAX_BYTES)
    ready.get("q", 1, lambda: b"x" * (BODY_MAX_BYTES + 1))
    assert len(ready) == 0
