"""What a lock and a semaphore are in the key-value store, as Consul's clients keep them.

A lock is one key that a session holds. A semaphore is a key that names its holders, changed by
comparing and setting, and beside it one key for each contender, held by its session so that those
who died are seen. Decides, from the entries as they were read, what to write next; the shell reads,
writes and comes back. Flags and fields are those of Consul's Go client (`api/lock.go`,
`api/semaphore.go`), so that its users and ours exclude each other.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

#: The flags that mark a key as one of ours.
LOCK_FLAGS = 0x2DDCCBC058A50C18
SEMAPHORE_FLAGS = 0xE0F69A2BAA414DE0


class ConflictError(Exception):
    """The key is in use for something else, or by others with another limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key as it was read. ``session`` is "" when nobody holds it."""

    key: str
    value: bytes = b""
    flags: int = 0
    session: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write a key; exactly one of the last three says how."""

    key: str
    value: bytes
    flags: int
    acquire: str = ""
    release: str = ""
    cas: int | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete a key, only at this index if there is one."""

    key: str
    cas: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Others hold it: come back when the entries have changed."""


@dataclass(frozen=True, slots=True)
class Held:
    """It is ours."""


class Rules(Protocol):
    """A lock of either sort, for one session. ``path`` is what has to be read and watched, with
    everything below it if ``recurse``."""

    path: str
    recurse: bool

    def next(self, entries: Iterable[Entry]) -> Put | Wait | Held:
        """What leads to holding it. Raises ConflictError."""
        ...

    def is_held(self, entries: Iterable[Entry]) -> bool:
        """Whether the session holds it."""
        ...

    def leave(self, entries: Iterable[Entry]) -> Put | Remove | None:
        """What is left to do to give it back and to tidy up, None when nothing is."""
        ...


class Mutex:
    """One holder."""

    recurse = False

    def __init__(self, prefix: str, session: str) -> None:
        self.path = f"{prefix}/.lock"
        self._session = session

    def next(self, entries: Iterable[Entry]) -> Put | Wait | Held:
        """Acquire the key when nobody has it."""
        entry = _at(self.path, entries)
        if entry is not None and entry.flags != LOCK_FLAGS:
            raise ConflictError("Existing key does not match lock use")
        if entry is not None and entry.session:
            return Held() if entry.session == self._session else Wait()
        return Put(key=self.path, value=b"", flags=LOCK_FLAGS, acquire=self._session)

    def is_held(self, entries: Iterable[Entry]) -> bool:
        """Whether the key belongs to the session."""
        entry = _at(self.path, entries)
        return entry is not None and entry.session == self._session

    def leave(self, entries: Iterable[Entry]) -> Put | Remove | None:
        """Release the key, then remove it unless somebody has it already."""
        entry = _at(self.path, entries)
        if entry is None or entry.flags != LOCK_FLAGS:
            return None
        if entry.session == self._session:
            return Put(key=self.path, value=entry.value, flags=LOCK_FLAGS, release=self._session)
        return None if entry.session else Remove(self.path, entry.index)


class Semaphore:
    """Up to ``limit`` holders at a time."""

    recurse = True

    def __init__(self, prefix: str, session: str, limit: int) -> None:
        self.path = f"{prefix}/"
        self._lock = f"{prefix}/.lock"
        self._ours = f"{prefix}/{session}"
        self._session = session
        self._limit = limit

    def next(self, entries: Iterable[Entry]) -> Put | Wait | Held:
        """Show that we want it, then put our name among the holders when there is room."""
        entries = tuple(entries)
        ours, lock = _at(self._ours, entries), _at(self._lock, entries)
        if ours is None or ours.session != self._session:
            return Put(key=self._ours, value=b"", flags=SEMAPHORE_FLAGS, acquire=self._session)
        holders = self._living(lock, entries)
        if self._session in holders:
            return Held()
        if len(holders) >= self._limit:
            return Wait()
        return self._write(lock, (*holders, self._session))

    def is_held(self, entries: Iterable[Entry]) -> bool:
        """Whether we are among the holders and still seen as alive."""
        entries = tuple(entries)
        ours = _at(self._ours, entries)
        if ours is None or ours.session != self._session:
            return False
        try:
            return self._session in self._living(_at(self._lock, entries), entries)
        except ConflictError:
            return False

    def leave(self, entries: Iterable[Entry]) -> Put | Remove | None:
        """Take our name out, then our own key away, and at last what nobody needs."""
        entries = tuple(entries)
        lock = _at(self._lock, entries)
        try:
            named = _holders(lock)[1] if lock is not None else ()
        except ConflictError:
            lock, named = None, ()
        if self._session in named:
            return self._write(lock, tuple(name for name in named if name != self._session))
        if _at(self._ours, entries) is not None:
            return Remove(self._ours)
        if lock is None or any(entry.session for entry in entries):
            return None
        return Remove(self._lock, lock.index)

    def _living(self, lock: Entry | None, entries: Iterable[Entry]) -> tuple[str, ...]:
        """The holders whose sessions still live. Raises ConflictError."""
        if lock is None:
            return ()
        limit, named = _holders(lock)
        if limit != self._limit:
            raise ConflictError(f"Semaphore limit conflict (lock: {limit}, local: {self._limit})")
        alive = {entry.session for entry in entries if entry.session}
        return tuple(name for name in named if name in alive)

    def _write(self, lock: Entry | None, holders: Iterable[str]) -> Put:
        value = {"Limit": self._limit, "Holders": dict.fromkeys(holders, True)}
        return Put(
            key=self._lock,
            value=json.dumps(value, separators=(",", ":")).encode(),
            flags=SEMAPHORE_FLAGS,
            cas=lock.index if lock is not None else 0,
        )


def entry_of(shown: Mapping[str, Any]) -> Entry:
    """A key as the HTTP API shows it."""
    return Entry(
        key=shown["Key"],
        value=base64.b64decode(shown["Value"] or ""),
        flags=shown["Flags"],
        session=shown.get("Session", ""),
        index=shown["ModifyIndex"],
    )


def _at(key: str, entries: Iterable[Entry]) -> Entry | None:
    return next((entry for entry in entries if entry.key == key), None)


def _holders(lock: Entry) -> tuple[int, tuple[str, ...]]:
    """Limit and holders as written. Raises ConflictError."""
    if lock.flags != SEMAPHORE_FLAGS:
        raise ConflictError("Existing key does not match semaphore use")
    try:
        value = json.loads(lock.value)
        return int(value["Limit"]), tuple(value.get("Holders") or ())
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ConflictError("Existing key does not match semaphore use") from None
