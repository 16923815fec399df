"""Transactions: several operations on keys, nodes, services and checks, all of them or none.

Made by an undo journal (undo.py): operations are carried out by the very code that carries them
out alone, and taken back when one fails. Checking all first would need a second copy of every rule
that shows each operation the effects of those before it (a session ends with its check, and its
lock with it), and the two would drift apart. As in Consul a failed operation does not stop the
rest: every failure is named, seen on the state that the others left.

Decides the order of things and what is given back (http-api contract 4); the verbs themselves are
txn_keys.py's and txn_catalog.py's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator

from raftstore.codec import codec_for, pack
from raftstore.commands import Applied, Outcome, Rejected, SessionDestroy, Transaction
from raftstore.config import StateLimits
from raftstore.records import TxnAnswer, TxnError, TxnOperation, TxnResult, TxnSession
from raftstore.state.history import weigh
from raftstore.state.sessions import Sessions
from raftstore.state.tables import Indexes
from raftstore.state.txn_catalog import CatalogVerbs
from raftstore.state.txn_keys import PAIR_BYTES, KeyVerbs, Room

_ANSWER = codec_for(TxnAnswer)

#: Results of trees that are read in one go, and in one step of more.
AT_ONCE_RESULTS = 512
SLICE_RESULTS = 128

_ANY_NUMBER = 1 << 30

#: What an operation gave back, and why it failed ("" when it did not).
Step = tuple[tuple[TxnResult, ...], str]
#: The same of a tree that is still being walked.
Slices = Iterator[tuple[TxnResult, ...]]


class Transactions:
    """Carries out transactions on the tables that it is made of."""

    __slots__ = ("_catalog", "_indexes", "_keys", "_limits", "_sessions")

    def __init__(
        self,
        keys: KeyVerbs,
        catalog: CatalogVerbs,
        sessions: Sessions,
        indexes: Indexes,
        limits: StateLimits,
    ) -> None:
        self._keys = keys
        self._catalog = catalog
        self._sessions = sessions
        self._indexes = indexes
        self._limits = limits

    def apply(self, index: int, command: Transaction) -> Outcome:
        """All operations in order, or nothing at all."""
        operations = command.operations
        if len(operations) > self._limits.txn_operations_max:
            return Rejected(index, self._too_many(len(operations)))
        answer = _all(operations, lambda operation: ((), self._refusal(operation, writes=True)))
        if answer.errors:
            return Applied(index, pack(_ANSWER.to_plain(answer)))
        self._indexes.begin()
        self._keys.begin()
        limit = Room(self._limits.txn_results_max, self._limits.txn_results_bytes_max)
        answer = _all(operations, _bounded(limit, functools.partial(self._carry_out, index)))
        if answer.errors:
            self._indexes.undo.rollback()
            return Applied(index, pack(_ANSWER.to_plain(answer)))
        packed = pack(_ANSWER.to_plain(answer))
        if len(packed) > limit.bytes:
            self._indexes.undo.rollback()
            return Rejected(index, f"transaction's {_over(Room(0, -1), limit)}")
        self._indexes.undo.commit()
        return Applied(index, packed)

    def read(self, operations: tuple[TxnOperation, ...]) -> TxnAnswer:
        """What a transaction that only reads says now."""
        answer = _all(operations, lambda operation: ((), self._refusal(operation, writes=False)))
        if answer.errors:
            return answer
        return _all(operations, _bounded(self._read_limit(), self._look))

    def _read_limit(self) -> Room:
        """Rows are not counted: many are read in steps."""
        return Room(_ANY_NUMBER, self._limits.txn_read_bytes_max)

    def read_in_steps(
        self, operations: tuple[TxnOperation, ...]
    ) -> Generator[None, None, TxnAnswer] | None:
        """The same in steps, as it is at this call; None if it can be made at once."""
        keys = [operation.kv for operation in operations if operation.kv is not None]
        if not self._keys.trees_over(keys, AT_ONCE_RESULTS):
            return None
        if any(self._refusal(operation, writes=False) for operation in operations):
            return None
        return _taken(list(map(self._begin_look, operations)), self._read_limit())

    def _begin_look(self, operation: TxnOperation) -> Step | Slices:
        """What is short is found now, what may be long is walked as it is now."""
        if operation.kv is not None and operation.kv.verb == "get-tree":
            return self._keys.walk_tree(operation.kv, SLICE_RESULTS)
        return self._look(operation, self._read_limit())

    def index_of(self, operations: tuple[TxnOperation, ...]) -> int:
        """The highest index of what the operations look at."""
        return max(map(self._index_of, operations), default=0)

    def _too_many(self, count: int) -> str:
        limit = self._limits.txn_operations_max
        return f"Transaction contains too many operations ({count} > {limit})"

    def _refusal(self, operation: TxnOperation, *, writes: bool) -> str:
        if operation.kv is not None:
            return self._keys.refusal(operation.kv, writes=writes)
        return self._catalog.refusal(operation)

    def _carry_out(self, index: int, operation: TxnOperation, room: Room) -> Step:
        if operation.kv is not None:
            return self._keys.carry_out(index, operation.kv, room)
        if operation.session is not None:
            return self._end_session(index, operation.session)
        return self._catalog.carry_out(index, operation)

    def _look(self, operation: TxnOperation, room: Room) -> Step:
        if operation.kv is not None:
            return self._keys.look(operation.kv, room)
        if operation.session is not None:
            return (), f'unknown Session verb "{operation.session.verb}"'
        return self._catalog.look(operation)

    def _index_of(self, operation: TxnOperation) -> int:
        if operation.kv is not None:
            return self._keys.index_of(operation.kv)
        return self._catalog.index_of(operation)

    def _end_session(self, index: int, operation: TxnSession) -> Step:
        if operation.verb != "delete":
            return (), f'unknown Session verb "{operation.verb}"'
        outcome = self._sessions.destroy(index, SessionDestroy(operation.id))
        return (), outcome.reason if isinstance(outcome, Rejected) else ""


def _taken(found: list[Step | Slices], limit: Room) -> Generator[None, None, TxnAnswer]:
    """The answer of what operations found, in steps: by the rules of ``_all`` and ``_bounded``."""
    results: list[TxnResult] = []
    errors: list[TxnError] = []
    room = limit
    for number, step in enumerate(found):
        if room.is_over:
            errors.append(TxnError(number, _over(room, limit)))
            continue
        problem = step[1] if isinstance(step, tuple) else ""
        for rows in step[:1] if isinstance(step, tuple) else step:
            room = _less(room, rows)
            results.extend(rows)
            if room.is_over:
                problem = problem or _over(room, limit)
                break
            yield
        if problem:
            errors.append(TxnError(number, problem))
    return TxnAnswer((), tuple(errors)) if errors else TxnAnswer(tuple(results))


def _over(room: Room, limit: Room) -> str:
    if room.rows < 0:
        return f"results are over the limit of {limit.rows}"
    return f"results are over the limit of {limit.bytes} bytes"


def _less(room: Room, given: tuple[TxnResult, ...]) -> Room:
    return Room(room.rows - len(given), room.bytes - sum(map(_weight, given)))


def _bounded(
    limit: Room, run: Callable[[TxnOperation, Room], Step]
) -> Callable[[TxnOperation], Step]:
    """The same, told how much there is room for; from where the results are too many only errors:
    none is kept or encoded."""
    room = limit

    def checked(operation: TxnOperation) -> Step:
        nonlocal room
        if room.is_over:
            return (), _over(room, limit)
        given, problem = run(operation, room)
        room = _less(room, given)
        return ((), problem or _over(room, limit)) if room.is_over else (given, problem)

    return checked


def _weight(result: TxnResult) -> int:
    """About how many bytes a result takes; the same everywhere, as it decides what goes through."""
    if result.kv is not None:
        return PAIR_BYTES + len(result.kv.key) + len(result.kv.value)
    return weigh(result.node or result.service or result.check)


def _all(operations: tuple[TxnOperation, ...], run: Callable[[TxnOperation], Step]) -> TxnAnswer:
    """Every operation's results, or with any failure all failures."""
    results: list[TxnResult] = []
    errors: list[TxnError] = []
    for number, operation in enumerate(operations):
        given, problem = run(operation)
        results.extend(given)
        if problem:
            errors.append(TxnError(number, problem))
    return TxnAnswer((), tuple(errors)) if errors else TxnAnswer(tuple(results))
