"""Jobs of `exec`: their form is Consul's, and nothing that others write breaks the reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.events.remote import (
    WAIT_S,
    Job,
    Line,
    Place,
    RemoteError,
    read_answer,
    read_job,
    read_payload,
)

PLACE = Place("_rexec", "5f3c0c2e-0000-0000-0000-000000000001")


def test_a_place_is_told_and_found_again() -> None:
    assert json.loads(PLACE.payload()) == {"Prefix": "_rexec", "Session": PLACE.session}
    assert read_payload(PLACE.payload()) == PLACE
    assert PLACE.job == f"_rexec/{PLACE.session}/job"
    assert PLACE.output("n1", 255) == f"_rexec/{PLACE.session}/n1/out/000ff"


def test_a_job_lies_as_consuls_agents_read_it() -> None:
    assert json.loads(Job(command="uptime").encoded()) == {
        "Command": "uptime",
        "Args": None,
        "Script": None,
        "Wait": 2_000_000_000,
    }


@given(st.text(min_size=1), st.lists(st.text()), st.binary(), st.integers(1, 10**6))
def test_a_job_is_read_as_it_was_written(
    command: str, args: list[str], script: bytes, wait_ms: int
) -> None:
    job = Job(command=command, args=tuple(args), script=script, wait_s=wait_ms / 1000)
    assert read_job(job.encoded()) == job


@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["Command", "Args", "Script", "Wait", "Prefix", "Session"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_what_is_no_job_is_refused_and_breaks_nothing(data: bytes) -> None:
    for read in (read_job, read_payload):
        try:
            read(data)
        except RemoteError:
            pass


def test_no_time_to_wait_means_the_usual_one() -> None:
    assert read_job(b'{"Command": "a", "Wait": 0}').wait_s == WAIT_S
    with pytest.raises(RemoteError, match="no number"):
        read_job(b'{"Command": "a", "Wait": -1}')


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (PLACE.ack("n1"), Line("n1", "ack")),
        (PLACE.output("n1", 0), Line("n1", "output", b"v")),
        (PLACE.exit("n1"), Line("n1", "exit", b"v")),
        (PLACE.job, None),
        (PLACE.root + "n1/else", None),
        (PLACE.root + "n1/out/0/0", None),
    ],
)
def test_answers_are_known_by_their_keys(key: str, line: Line | None) -> None:
    assert read_answer(PLACE, key, b"v") == line
