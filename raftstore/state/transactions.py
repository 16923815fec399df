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
from collections.abc import Callable

from raftstore.codec import codec_for, pack
from raftstore.commands import Applied, Outcome, Rejected, SessionDestroy, Transaction
from raftstore.config import StateLimits
from raftstore.records import TxnAnswer, TxnError, TxnOperation, TxnResult, TxnSession
from raftstore.state.history import weigh
from raftstore.state.sessions import Sessions
from raftstore.state.tables import Indexes
from raftstore.state.txn_catalog import CatalogVerbs
from raftstore.state.txn_keys import PAIR_BYTES, KeyVerbs

_ANSWER = codec_for(TxnAnswer)

#: What an operation gave back, and why it failed ("" when it did not).
Step = tuple[tuple[TxnResult, ...], str]


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
        limit = self._limits.txn_results_bytes_max
        answer = _all(operations, _bounded(limit, functools.partial(self._carry_out, index)))
        if answer.errors:
            self._indexes.undo.rollback()
            return Applied(index, pack(_ANSWER.to_plain(answer)))
        packed = pack(_ANSWER.to_plain(answer))
        if len(packed) > limit:
            self._indexes.undo.rollback()
            return Rejected(index, f"transaction's {_over(limit)}")
        self._indexes.undo.commit()
        return Applied(index, packed)

    def read(self, operations: tuple[TxnOperation, ...]) -> TxnAnswer:
        """What a transaction that only reads says now."""
        answer = _all(operations, lambda operation: ((), self._refusal(operation, writes=False)))
        if answer.errors:
            return answer
        return _all(operations, _bounded(self._limits.txn_read_bytes_max, self._look))

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

    def _carry_out(self, index: int, operation: TxnOperation, room: int) -> Step:
        if operation.kv is not None:
            return self._keys.carry_out(index, operation.kv, room)
        if operation.session is not None:
            return self._end_session(index, operation.session)
        return self._catalog.carry_out(index, operation)

    def _look(self, operation: TxnOperation, room: int) -> Step:
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


def _over(limit: int) -> str:
    return f"results are over the limit of {limit} bytes"


def _bounded(
    limit: int, run: Callable[[TxnOperation, int], Step]
) -> Callable[[TxnOperation], Step]:
    """The same, told how many bytes there is room for; from where the results are too many only
    errors: none is kept or encoded."""
    room = limit

    def checked(operation: TxnOperation) -> Step:
        nonlocal room
        if room < 0:
            return (), _over(limit)
        given, problem = run(operation, room)
        room -= sum(map(_weight, given))
        return (given, problem) if room >= 0 else ((), problem or _over(limit))

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
