"""Answers about earlier states, and the journal itself, against states that were written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore import queries, rows
from raftstore.commands import Command, Deregister, KVDeleteTree, KVSet, Register, SetCA
from raftstore.config import StateLimits
from raftstore.definitions import ACLToken
from raftstore.dns_queries import HealthSample, WhoHasAddress
from raftstore.errors import NotInHistory
from raftstore.queries import (
    Answer,
    At,
    Diff,
    GetCAProvider,
    History,
    KVGet,
    KVList,
    Query,
    WhySessionEnded,
)
from raftstore.records import Actor, Check, Node, Service
from raftstore.restore_queries import GetRestore
from raftstore.signing_requests import GetSigningRequest
from raftstore.state import StateMachine, past
from raftstore.state.connect import key_print, without_secrets
from raftstore.state.listings import whole
from tests.raftstore.state.commands import ALL_QUERIES, POPULATED, any_commands
from tests.strategies import long_examples

ROOMY = StateLimits(tombstones_max=2)
TIGHT = StateLimits(tombstones_max=2, history_entries_max=110, history_bytes_max=40_000)
NOW_ONLY = (
    GetCAProvider,
    GetSigningRequest,
    GetRestore,
    History,
    Diff,
    WhoHasAddress,
    HealthSample,
    WhySessionEnded,
)
PAST_QUERIES = [
    query for query in ALL_QUERIES if not isinstance(query, NOW_ONLY) and not query.server_only
]

Rows = dict[tuple[str, str], Any]


def look(state: StateMachine) -> dict[Query[Any], Answer[Any]]:
    answers = {query: state.answer(query) for query in PAST_QUERIES}
    return {query: Answer(a.index, unsecret(a.value)) for query, a in answers.items()}


def unsecret(value: Any) -> Any:
    """Tokens as the past shows them: without their secrets."""
    if isinstance(value, ACLToken):
        return replace(value, secret="")
    return tuple(map(unsecret, value)) if isinstance(value, tuple) else value


def rows_of(state: StateMachine) -> Rows:
    """Every row there is, found without the journal."""
    found: Rows = {}
    for key, row in state.registry.nodes.items():
        found["nodes", key] = row.node
        found |= {("services", f"{key}/{s.id}"): s for s in row.services.values()}
        found |= {("checks", f"{key}/{c.id}"): c for c in row.all_checks()}
    found |= {("kv", pair.key): pair for pair in state.kv.list("")}
    found |= {("intentions", key): e for key, e in state.intentions.entries().items()}
    if state.ca.config:
        found["ca-config", ""] = without_secrets(state.ca.config)
    if state.ca.roots:
        found["ca-roots", ""] = state.ca.roots
    if state.ca.serial:
        found["ca-serial", ""] = state.ca.serial
    if state.ca.requested:
        found["ca-request", ""] = key_print(state.ca.requested)
    found |= {("sessions", session.id): session for session in state.sessions.all()}
    if state.autopilot.config:
        found["autopilot", ""] = state.autopilot.config
    for name, table in state.definitions.tables.items():
        found |= {(name, key): unsecret(record) for key, record in table.records.items()}
    return found


def as_bytes(state: StateMachine) -> list[bytes]:
    return [msgpack.packb(chunk) for chunk in state.snapshot()]


class Written:
    """A random history with what was said and what was there after each command."""

    def __init__(self, data: st.DataObject, limits: StateLimits, most: int = 10) -> None:
        self.state = StateMachine(limits)
        self.said: dict[int, dict[Query[Any], Answer[Any]]] = {0: look(self.state)}
        self.rows: dict[int, Rows] = {0: {}}
        self.stamps = {0: 0.0}
        history: list[Command | None] = [*POPULATED, *[None] * data.draw(st.integers(0, most))]
        for index, known in enumerate(history, start=2):
            command = known or data.draw(any_commands(index))
            stamp = self.state.stamp + (data.draw(st.sampled_from([0.0, 1.0])) if not known else 1)
            self.state.apply(index, stamp, command)
            self.state.check()
            if known is None or index == len(POPULATED) + 1:
                self.said[index] = look(self.state)
            self.rows[index] = rows_of(self.state)
            self.stamps[index] = stamp


@long_examples(4)  # each asks every query of up to two moments
@given(data=st.data())
@pytest.mark.parametrize("limits", [ROOMY, TIGHT])
@pytest.mark.parametrize("restarted", [False, True])
def test_every_query_is_answered_as_it_was(data, limits, restarted):
    written = Written(data, limits)
    state = written.state
    if restarted:
        state = StateMachine(limits)
        state.restore([msgpack.unpackb(chunk) for chunk in as_bytes(written.state)])
    before = as_bytes(state)
    for index in data.draw(st.sets(st.sampled_from(sorted(written.said)), max_size=2)):
        said = written.said[index]
        if index < state.history.floor:
            with pytest.raises(NotInHistory, match="reaches back"):
                state.answer_at(KVGet("a"), At(index=index))
            continue
        for query, answer in said.items():
            assert state.answer_at(query, At(index=index)) == answer, (query, index)
    assert as_bytes(state) == before, "looking back changed something"
    state.check()


@long_examples(15)
@given(data=st.data())
@pytest.mark.parametrize("limits", [ROOMY, TIGHT])
def test_the_journal_tells_every_row_that_a_command_wrote(data, limits):
    written = Written(data, limits)
    state = written.state
    for index in sorted(written.rows)[1:]:
        if index - 1 < state.history.floor or index - 1 not in written.rows:
            continue
        known = dict(written.rows[index - 1])
        query = History(since=At(index=index - 1), until=At(index=index))
        for change in state.answer(query).value.changes:
            assert change.index == index
            place = (change.table, change.key)
            assert rows.read(change.table, change.before) == known.get(place)
            known.pop(place, None)
            if change.after is not None:
                known[place] = rows.read(change.table, change.after)
        assert known == written.rows[index], f"a change at {index} is not in the journal"


@long_examples(15)
@given(data=st.data())
def test_a_difference_is_what_differs(data):
    written = Written(data, ROOMY)
    indexes = st.sampled_from(sorted(written.rows)[1:])
    since, until = data.draw(indexes), data.draw(indexes)
    one, other = written.rows[since], written.rows[until]
    answer = written.state.answer(Diff(since=At(index=since), until=At(index=until))).value
    told = {
        (c.table, c.key): (rows.read(c.table, c.before), rows.read(c.table, c.after))
        for c in answer.changes
    }
    assert told == {
        place: (one.get(place), other.get(place))
        for place in one | other
        if one.get(place) != other.get(place)
    }
    assert [*told] == sorted(told)


@long_examples(15)
@given(data=st.data())
def test_a_time_stands_for_the_last_index_that_is_not_younger(data):
    written = Written(data, TIGHT)
    state = written.state
    when = data.draw(st.floats(0.0, state.stamp + 2.0))
    expected = max(index for index, stamp in written.stamps.items() if stamp <= when)
    if when < state.history.floor_stamp:
        with pytest.raises(NotInHistory):
            state.answer_at(KVGet("a"), At(stamp=when))
    else:
        known = rows_at(state, At(stamp=when))
        assert known == [
            row for (table, _), row in sorted(written.rows[expected].items()) if table == "kv"
        ]


def rows_at(state: StateMachine, at: At) -> list[Any]:
    return list(state.answer_at(KVList(""), at).value)


def filled(*commands: Command) -> StateMachine:
    state = StateMachine()
    for index, command in enumerate(commands, start=1):
        state.apply(index, float(index), command, actor=Actor("t", "10.0.0.1:9", "n1"))
    return state


def test_a_state_that_is_yet_to_come_is_refused():
    with pytest.raises(NotInHistory, match="not reached yet"):
        filled(KVSet(key="a")).answer_at(KVGet("a"), At(index=2))


def test_secrets_and_the_history_itself_are_answered_for_now_only():
    state = filled(*POPULATED)
    for query in (GetCAProvider(), History(), Diff(since=At())):
        with pytest.raises(NotInHistory, match="now only"):
            state.answer_at(query, At())


def test_no_secret_of_the_authority_reaches_the_journal():
    setup = next(command for command in POPULATED if isinstance(command, SetCA))
    state = filled(setup)
    assert b"k1" not in b"".join(msgpack.packb(c) for c in state.snapshot() if "history" in c[0])


def test_a_change_names_its_time_and_who_made_it():
    state = filled(KVSet(key="a"), KVSet(key="b"))
    first, second = state.answer(History()).value.changes
    assert (first.index, first.stamp, first.table, first.key) == (1, 1.0, "kv", "a")
    assert first.actor == Actor("t", "10.0.0.1:9", "n1") and first.command == KVSet.number
    assert first.before is None and second.index == 2


def test_a_page_ends_between_two_commands_and_the_next_one_follows():
    keys = [KVSet(key=f"k{n}") for n in range(5)]
    state = filled(*keys, KVDeleteTree(prefix="k"))
    page = state.answer(History(limit=2)).value
    assert [c.key for c in page.changes] == ["k0", "k1"] and page.more
    rest = state.answer(History(since=At(index=5), limit=1)).value
    assert len(rest.changes) == 5 and not rest.more


def test_tables_and_keys_narrow_what_is_told():
    node = Node(name="n1", address="a")
    state = filled(KVSet(key="a"), Register(node=node, service=Service(id="w", name="web")))
    assert [c.key for c in state.answer(History(table="services")).value.changes] == ["n1/w"]
    assert [c.table for c in state.answer(History(key="n1")).value.changes] == ["nodes", "services"]
    assert not state.answer(Diff(since=At(index=0), table="kv", key="b")).value.changes


def test_a_journal_that_is_full_forgets_the_oldest_and_one_too_large_command_all():
    limits = StateLimits(history_entries_max=32)
    state = StateMachine(limits)
    for index in range(1, 40):
        state.apply(index, 0.0, KVSet(key=f"k{index}"))
        state.check()
    assert 20 < state.history.floor < 30
    state.apply(40, 0.0, KVDeleteTree(prefix=""))
    assert (state.history.floor, len(state.history)) == (40, 0)
    assert state.answer_at(KVList(""), At(index=40)).value == ()


def test_a_snapshot_from_before_there_was_a_journal_begins_one():
    chunks = [c for c in filled(KVSet(key="a")).snapshot() if "history" not in c[0]]
    state = StateMachine()
    state.restore(chunks)
    assert state.history.floor == 1
    with pytest.raises(NotInHistory):
        state.answer_at(KVGet("a"), At(index=0))


def test_only_the_rows_that_a_query_needs_are_looked_at():
    node = Node(name="n1", address="a")
    service = Service(id="w", name="web")
    check = Check(id="c", service_id="w")
    state = filled(
        Register(node=node, service=service, checks=(check,)),
        Register(node=Node(name="n2", address="b"), service=Service(id="d", name="db")),
        Deregister(node="n1"),
    )
    earlier = StateMachine()
    whole(past.fill(earlier, state, queries.HealthService(service="web"), 2))
    assert list(earlier.registry.nodes) == ["n1"] and list(earlier.registry.names) == ["web"]
