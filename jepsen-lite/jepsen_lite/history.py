"""What happened in a run, as plain data: one JSON object a line, appended as it happens.

An operation is two lines: ``invoke`` when a client starts it, then ``ok`` (it happened), ``fail``
(it certainly did not) or ``info`` (nobody knows; it may still happen later).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO

INVOKE, OK, FAIL, INFO = "invoke", "ok", "fail", "info"
#: What JSON can hold.
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
#: The process name under which nemeses write.
NEMESIS = "nemesis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One line. ``at`` is seconds since the run began. ``value`` is what is written, or what was
    read (None: no such key); its shape is the workload's. ``expected`` is what a compare-and-set
    compares with, ``age_s`` how old the answer may be by the server's own word (None: not said)."""

    index: int = -1
    at: float = 0.0
    process: str
    type: str
    f: str
    key: str = ""
    value: Json = None
    expected: Json = None
    mode: str = ""
    node: str = ""
    error: str = ""
    modify_index: int = 0
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An invocation with its completion, None while it is open at the end of the history."""

    invocation: Op
    completion: Op | None

    @property
    def outcome(self) -> str:
        """``ok``, ``fail`` or ``info``; an operation that never completed counts as ``info``."""
        return INFO if self.completion is None else self.completion.type

    @property
    def start(self) -> int:
        return self.invocation.index

    @property
    def end(self) -> float:
        """Index of the completion; infinite for operations that may still happen."""
        if self.completion is None or self.completion.type == INFO:
            return float("inf")
        return self.completion.index


#: What a line leaves out: index is always written, and no field without default is ever equal.
_DEFAULTS = {field.name: field.default for field in fields(Op) if field.name != "index"}


class History:
    """Appends lines to a file and keeps them; safe to use from several threads."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._ops: list[Op] = []
        self._file: IO[str] | None = path.open("w", encoding="utf-8") if path else None

    def append(self, op: Op) -> Op:
        """Give the line its number and keep it."""
        with self._lock:
            numbered = replace(op, index=len(self._ops))
            self._ops.append(numbered)
            if self._file is not None:
                self._file.write(_line(numbered))
                self._file.flush()
        return numbered

    def __iter__(self) -> Iterator[Op]:
        with self._lock:
            return iter(tuple(self._ops))

    def __len__(self) -> int:
        return len(self._ops)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(op: Op) -> str:
    plain = {
        name: value
        for name, default in _DEFAULTS.items()
        if (value := getattr(op, name)) != default
    }
    return json.dumps({"index": op.index} | plain) + "\n"


def read_history(path: Path) -> list[Op]:
    """The lines of a recorded run. Raises ValueError on a line that is none."""
    ops = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        try:
            ops.append(Op(**({"index": number} | json.loads(line))))
        except TypeError as error:
            raise ValueError(f"{path}:{number + 1}: {error}") from error
    return ops


def pair(ops: Iterable[Op]) -> list[Operation]:
    """Invocations with their completions, in order of invocation. Nemesis lines are left out.

    A process has at most one operation open. Raises ValueError when a history says otherwise.
    """
    pairs: list[Operation] = []
    open_at: dict[str, int] = {}
    for op in ops:
        if op.process == NEMESIS:
            continue
        if op.type == INVOKE:
            if op.process in open_at:
                raise ValueError(f"line {op.index}: process {op.process} is still busy")
            open_at[op.process] = len(pairs)
            pairs.append(Operation(op, None))
        else:
            at = open_at.pop(op.process, None)
            if at is None:
                raise ValueError(f"line {op.index}: process {op.process} has nothing open")
            pairs[at] = Operation(pairs[at].invocation, op)
    return pairs
