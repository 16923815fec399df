"""What is asked of the leader about sessions survives the way there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backend import sessions
from agent.backend.operations import LEADER_METHODS, RENEW_SESSION, REPEATABLE, SESSION_CLOCK
from agent.backend.rpc import calls
from agent.backend.sessions import SessionCalls, SessionClock
from raftstore.errors import DecodeError
from raftstore.records import NodeName, Session

ID = "00000001-0000-4000-8000-000000000000"
seconds = st.floats(0.0, 1e9)
clocks = st.builds(
    SessionClock,
    leader=st.text(max_size=20),
    known=st.booleans(),
    ttl_s=seconds,
    left_s=seconds,
    since=st.sampled_from(["", "renewed"]),
    since_ago_s=seconds,
    renewals=st.integers(0, 2**40),
    renewed_ago_s=st.lists(seconds, max_size=4).map(tuple),
    ending=st.booleans(),
)


class Leader:
    """Answers every question with the same bytes."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.asked: list[tuple[str, str]] = []

    async def on_leader(self, method: str, payload: bytes) -> bytes:
        self.asked.append((method, sessions.read_id(payload)))
        return self.reply


@given(clocks)
def test_a_clock_survives_the_way(clock: SessionClock) -> None:
    assert sessions._CLOCK.decode(sessions.encode_clock(clock), bytes_max=1 << 16) == clock


@given(st.binary(max_size=60))
def test_other_bytes_are_no_session(raw: bytes) -> None:
    try:
        assert isinstance(sessions.read_id(raw), str)
    except DecodeError:
        pass


@pytest.mark.parametrize("found", [None, Session(id=ID, node=NodeName("n"), ttl="10s", ttl_ns=10)])
async def test_a_renewal_gives_what_the_leader_found(found: Session | None) -> None:
    leader = Leader(sessions.encode_renewed(ID, found))
    assert await SessionCalls(leader).renew(ID) == found
    assert leader.asked == [(RENEW_SESSION, ID)]


async def test_the_clock_is_the_leaders() -> None:
    clock = SessionClock(leader="s1", known=True, ttl_s=10.0, left_s=3.5)
    leader = Leader(sessions.encode_clock(clock))
    assert await SessionCalls(leader).clock(ID) == clock
    assert leader.asked == [(SESSION_CLOCK, ID)]


def test_both_may_be_repeated_and_are_known_to_servers() -> None:
    assert {RENEW_SESSION, SESSION_CLOCK} <= REPEATABLE <= set(LEADER_METHODS)
    assert calls.pack(ID)
