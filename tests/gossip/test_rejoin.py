"""What a member remembers: every crash leaves a file that says what was so at some moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossip import rejoin
from gossip.lamport import LTIME_MAX
from gossip.rejoin import Clocks, Ledger, Remembered, parse

NAMES = st.sampled_from(["n1", "n2", "web 3", "n\n4", "", "äö"])
ADDRESSES = st.sampled_from(["10.0.0.1:8301", "10.0.0.2:8301", "[::1]:7946", "x", "h:0", "h:65536"])
TIMES = st.builds(Clocks, *[st.integers(0, 20)] * 3)
STEPS = st.lists(
    st.tuples(st.just("alive"), NAMES, ADDRESSES)
    | st.tuples(st.just("gone"), NAMES)
    | st.tuples(st.just("clocks"), TIMES)
    | st.tuples(st.just("append"))
    | st.tuples(st.just("replace")),
    max_size=30,
)


@given(STEPS, st.data())
def test_whenever_the_host_stops_the_file_says_what_was_so(
    steps: list[tuple[object, ...]], data: st.DataObject
) -> None:
    ledger, file = Ledger(Remembered(), 0), b""
    said = [Remembered()]
    durable = 0
    for what, *arguments in steps:
        if what == "append":
            file += ledger.take()
            durable = len(said) - 1
        elif what == "replace":
            file = ledger.image()
            durable = len(said) - 1
        else:
            getattr(ledger, str(what))(*arguments)
            said.append(Remembered(dict(ledger.peers), ledger._clocks))
    found, problem = parse(file)
    assert problem == ""
    assert found == said[durable]
    # What was appended last may be cut anywhere; half a line counts for nothing.
    tail = ledger.take()
    cut = data.draw(st.integers(0, len(tail)))
    found, problem = parse(file + tail[:cut])
    assert problem == ""
    assert found.peers in [each.peers for each in said[durable:]]
    assert all(low <= now for low, now in zip(said[durable].clocks, found.clocks, strict=True))
    assert parse(file + tail)[0] == said[-1]


@given(st.binary(max_size=200))
def test_whatever_stands_there_can_be_read(data: bytes) -> None:
    found, _ = parse(data)
    assert len(found.peers) <= rejoin.PEERS_MAX
    assert all(0 <= time <= LTIME_MAX for time in found.clocks)


def test_a_file_of_serf_is_read() -> None:
    data = (
        b"alive: real 127.0.0.1:7946\nclock: 4\nevent-clock: 2\nquery-clock: 1\n"
        b"coordinate: {}\nalive: a name 10.0.0.1:1\nnot-alive: real\nclock: 9\n"
    )
    assert parse(data) == (Remembered({"a name": "10.0.0.1:1"}, Clocks(9, 2, 1)), "")
    assert parse(data + b"leave\n")[0] == Remembered()
    assert parse(data + b"leave\n", after_leave=True)[0] == parse(data)[0]


def test_damage_is_told_and_the_rest_is_used() -> None:
    data = b"alive: n1 10.0.0.1:1\n\xff\xfe\nnonsense\nclock: many\nalive: n2 nowhere\nclock: 3\n"
    found, problem = parse(data)
    assert found == Remembered({"n1": "10.0.0.1:1"}, Clocks(3))
    assert problem == "4 of 6 lines cannot be read"


def test_the_file_stays_short_and_the_peers_are_bounded() -> None:
    ledger, size = Ledger(Remembered(), 0), 0
    for number in range(20_000):
        ledger.alive(f"n{number % 5000}", f"10.0.0.{number % 7}:8301")
        ledger.clocks(Clocks(number))
        size = len(ledger.image()) if ledger.too_long else size + len(ledger.take())
        assert size <= rejoin.COMPACT_MIN_BYTES * 2 + 100
    assert len(ledger.peers) == rejoin.PEERS_MAX
