"""What a caller is told when nothing helped."""

from __future__ import annotations

import random

import pytest

from agent.backend.retry import Attempts
from agent.backend.rpc.client import RemoteFailure
from agent.errors import ForwardError, NoClusterLeader
from raftstore.errors import AnswerGone, JournalFull, LeadershipLost, NotLeader


def attempts(deadline: float = 7.0) -> Attempts:
    return Attempts(deadline=deadline, rng=random.Random(1))


def test_pauses_grow_and_stay_short() -> None:
    tries = attempts()
    pauses = [tries.failed(NotLeader(None), now=0.0) for _ in range(12)]
    assert pauses[0] < 0.05
    assert max(pauses) <= 0.25 * 1.5


def test_definite_failures_end_as_no_leader() -> None:
    with pytest.raises(NoClusterLeader):
        attempts().failed(NotLeader(None), now=7.0)


def test_one_indefinite_attempt_makes_the_end_indefinite() -> None:
    tries = attempts()
    tries.failed(LeadershipLost("gone"), now=0.0)
    with pytest.raises(ForwardError) as end:
        tries.failed(NotLeader(None), now=7.0)
    assert not end.value.definite


def test_a_full_disk_is_not_retried() -> None:
    with pytest.raises(JournalFull):
        attempts().failed(JournalFull("full"), now=0.0)


def test_what_was_carried_out_but_is_not_known_any_more_is_open_and_not_asked_again() -> None:
    for error, code in (
        (AnswerGone("gone"), ""),
        (ForwardError("gone", definite=False), "AnswerGone"),
    ):
        with pytest.raises(ForwardError, match="gone") as end:
            attempts().failed(error, now=0.0, code=code)
        assert not end.value.definite


def test_an_answer_that_cannot_change_is_not_retried() -> None:
    error = ForwardError("answer too large", definite=False)
    with pytest.raises(ForwardError):
        attempts().failed(error, now=0.0, code="too-large")


def test_what_cannot_be_encoded_is_not_retried_and_definite() -> None:
    error = RemoteFailure("EncodeError", "too large for the log", definite=True)
    with pytest.raises(ForwardError, match="for the log") as end:
        attempts().failed(error, now=0.0, code="EncodeError")
    assert end.value.definite
