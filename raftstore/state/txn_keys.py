"""A transaction's operations on keys: their verbs, errors and results (http-api contract 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from raftstore.commands import (
    KVDelete,
    KVDeleteTree,
    KVLock,
    KVUnlock,
    Outcome,
    Rejected,
    kv_set,
)
from raftstore.records import KVPair, TxnKV, TxnResult
from raftstore.state.kv import KVStore
from raftstore.state.locks import Locks
from raftstore.thawed import maker_of

#: What a key takes in an answer beside its name and value when it is encoded, rounded up.
PAIR_BYTES = 64


class Room(NamedTuple):
    """How much the answer of a transaction may still have."""

    rows: int
    bytes: int

    @property
    def is_over(self) -> bool:
        """Whether it has more than it may."""
        return self.rows < 0 or self.bytes < 0


_Step = tuple[tuple[TxnResult, ...], str]

_pair = maker_of(KVPair)
_result = maker_of(TxnResult)


class KeyVerbs:
    """Carries them out."""

    __slots__ = ("_kv", "_locks")

    def __init__(self, kv: KVStore, locks: Locks) -> None:
        self._kv = kv
        self._locks = locks

    def begin(self) -> None:
        """A transaction begins that writes."""
        self._kv.begin()

    def refusal(self, operation: TxnKV, *, writes: bool) -> str:
        """Why the operation cannot even be tried, "" when it can."""
        if not operation.key and operation.verb != "delete-tree":
            return "Must provide key"
        if writes and operation.verb == "lock" and self._locks.delays.runs(operation.key):
            return f'failed to lock key "{operation.key}" due to lock delay'
        return ""

    def index_of(self, operation: TxnKV) -> int:
        """Index of what a reading verb looks at."""
        if operation.verb == "get-tree":
            return self._kv.index_below(operation.key)
        return self._kv.index_of(operation.key)

    def carry_out(self, index: int, operation: TxnKV, room: Room) -> _Step:
        """Do what any verb says; ``room`` is how much the answer may have."""
        match operation.verb:
            case "set" | "cas":
                return self._set(index, operation)
            case "lock" | "unlock":
                return self._lock(index, operation)
            case "delete" | "delete-cas" | "delete-tree":
                return self._delete(index, operation)
            case _:
                return self.look(operation, room)

    def _set(self, index: int, operation: TxnKV) -> _Step:
        key = operation.key
        cas = operation.index if operation.verb == "cas" else None
        command = kv_set(key, operation.value, operation.flags, cas)
        if not self._kv.set(index, command).value:
            return (), f'failed to set key "{key}", index is stale'
        return self._written(key)

    def _lock(self, index: int, operation: TxnKV) -> _Step:
        key, session = operation.key, operation.session
        value, flags = operation.value, operation.flags
        outcome: Outcome
        if operation.verb == "lock":
            lock = KVLock(key=key, session=session, value=value, flags=flags)
            outcome = self._locks.acquire(index, lock)
        else:
            unlock = KVUnlock(key=key, session=session, value=value, flags=flags)
            outcome = self._locks.release(index, unlock)
        if isinstance(outcome, Rejected):
            return (), outcome.reason
        if outcome.value:
            return self._written(key)
        if operation.verb == "lock":
            return (), f'failed to lock key "{key}", lock is already held'
        why = "lock isn't held, or is held by another session"
        return (), f'failed to unlock key "{key}", {why}'

    def _delete(self, index: int, operation: TxnKV) -> _Step:
        key = operation.key
        if operation.verb == "delete-tree":
            self._kv.delete_tree(index, KVDeleteTree(prefix=key))
            return (), ""
        cas = operation.index if operation.verb == "delete-cas" else None
        if not self._kv.delete(index, KVDelete(key=key, cas=cas)).value:
            return (), f'failed to delete key "{key}", index is stale'
        return (), ""

    def _written(self, key: str) -> _Step:
        pair = self._kv.get(key)
        assert pair is not None, "it was written just now"
        return (_without_value(pair),), ""

    def look(self, operation: TxnKV, room: Room) -> _Step:
        """Do what a reading verb says."""
        key = operation.key
        pair = self._kv.get(key)
        match operation.verb:
            case "get":
                if pair is None:
                    return (), f'key "{key}" doesn\'t exist'
                return (TxnResult(kv=pair),), ""
            case "get-or-empty":
                return (TxnResult(kv=pair or KVPair(key=key)),), ""
            case "get-tree":
                return self._tree(key, room), ""
            case "check-not-exists":
                return (), "" if pair is None else f'key "{key}" exists'
            case "check-index" | "check-session":
                return _compare(operation, pair)
            case _:
                return (), f'unknown KV verb "{operation.verb}"'

    def trees_over(self, operations: Iterable[TxnKV], count: int) -> bool:
        """Whether the trees that these operations ask for have more keys than that together."""
        for operation in operations:
            if operation.verb == "get-tree":
                count -= sum(1 for _ in islice(self._kv.below(operation.key), count + 1))
                if count < 0:
                    return True
        return False

    def walk_tree(self, operation: TxnKV, slice_rows: int) -> Iterator[tuple[TxnResult, ...]]:
        """What ``look`` finds for a "get-tree" now, in slices, whatever is written meanwhile."""
        slices = self._kv.walk(operation.key, slice_rows)
        return (tuple([_result(pair, None, None, None) for pair in rows]) for rows in slices)

    def _tree(self, prefix: str, room: Room) -> tuple[TxnResult, ...]:
        """All keys with the prefix; of what there is no room for only so much that it shows."""
        found: list[TxnResult] = []
        left = room.bytes
        for pair in islice(self._kv.below(prefix), room.rows + 1):
            found.append(_result(pair, None, None, None))
            left -= PAIR_BYTES + len(pair.key) + len(pair.value)
            if left < 0:
                break
        return tuple(found)


def _compare(operation: TxnKV, pair: KVPair | None) -> _Step:
    key = operation.key
    what = operation.verb.removeprefix("check-")
    if pair is None:
        return (), f'failed to check {what}, key "{key}" doesn\'t exist'
    if what == "index":
        if pair.modify_index == operation.index:
            return (_without_value(pair),), ""
        found = f"current modify index {pair.modify_index} != {operation.index}"
    else:
        if pair.session == operation.session.lower():
            return (_without_value(pair),), ""
        found = f'current session "{pair.session}" != "{operation.session}"'
    return (), f'failed {what} check for key "{key}", {found}'


def _without_value(pair: KVPair) -> TxnResult:
    shown = _pair(
        pair.key,
        b"",
        pair.flags,
        pair.lock_index,
        pair.session,
        pair.create_index,
        pair.modify_index,
    )
    return _result(shown, None, None, None)
