"""What was registered by request, kept in the data directory over restarts.

Owns the files below ``services`` and ``checks`` (agent contract, section 3) and one thread, so
that writes reach the disk in the order they were asked for and never hold up the event loop. What
the files mean is stored.py's; which of them still count after a restart is restore.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from agent.local.former import former_names, keep_only
from agent.local.identity import write_durably
from agent.local.stored import (
    Changes,
    KeptEntry,
    KeptState,
    Loaded,
    StoredError,
    check_json,
    entry_json,
    read_check,
    read_entry,
    read_service,
    read_state,
    service_json,
    state_json,
)
from raftstore.records import CheckId, Json, NodeName

log = logging.getLogger("lictor.agent.local.files")

T = TypeVar("T")

#: A larger file was not written by an agent; it is skipped instead of read into memory.
FILE_BYTES_MAX = 4 * 1024 * 1024


class Files:
    """The registrations on disk. With an empty ``data_dir`` nothing is kept."""

    __slots__ = ("_closed", "_executor", "_flushing", "_root", "_states")

    def __init__(self, data_dir: str) -> None:
        self._root = Path(data_dir) if data_dir else None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="lictor-local-files")
        self._closed = False
        self._states: dict[CheckId, KeptState] = {}
        self._flushing: asyncio.Future[None] | None = None

    async def load(self, node: NodeName) -> Loaded:
        """Read everything. Raises OSError when the directory cannot be used."""
        return await self._run(lambda: self._load(node))

    async def apply(self, changes: Changes) -> None:
        """Write and remove; durable on return. Raises OSError, files may then be old or new."""
        for check_id in changes.gone_checks:
            self._states.pop(check_id, None)  # a write under way is before us in the thread
        if self._root is not None:
            await self._run(lambda: self._apply(changes))

    def keep_state(self, state: KeptState) -> None:
        """Keep the state of a TTL check, soon. Only the newest of a check is written.

        It is not waited for: a state lost in a crash makes the check critical until its next
        update, which is what it would be without the file.
        """
        if self._root is None:
            return
        self._states[state.check_id] = state
        if self._flushing is None:
            loop = asyncio.get_running_loop()
            self._flushing = loop.run_in_executor(self._executor, self._write_states)
            self._flushing.add_done_callback(self._flushed)

    def keep_entry(self, entry: KeptEntry) -> None:
        """Keep a config entry as a server told it, soon; without a content its file goes."""
        if self._root is not None and not self._closed:
            self._executor.submit(self._write_entry, entry)

    def keep_name(self, node: NodeName) -> None:
        """The catalog knows this host by that name alone; kept soon."""
        if self._root is not None and not self._closed:
            self._executor.submit(self._write_name, self._root, node)

    async def close(self) -> None:
        """Write what is waiting and end the thread."""
        while self._flushing is not None:
            flushing = self._flushing
            with contextlib.suppress(OSError):
                await flushing
            await asyncio.sleep(0)  # lets the callback start the next round
        if not self._closed:
            self._closed = True
            await self._run(lambda: None)  # what was submitted earlier is done when this is
            self._executor.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _flushed(self, future: asyncio.Future[None]) -> None:
        self._flushing = None
        error = future.exception()
        if error is not None:
            log.warning("state of checks not kept error=%s", error)
        elif self._states:
            loop = asyncio.get_running_loop()
            self._flushing = loop.run_in_executor(self._executor, self._write_states)
            self._flushing.add_done_callback(self._flushed)

    # ---- in the thread ----

    def _write_states(self) -> None:
        while self._states:
            # One atomic dict operation: the loop may add while this thread takes.
            check_id, state = self._states.popitem()
            write_durably(self._path("checks/state", check_id), _encode(state_json(state)))

    def _write_entry(self, entry: KeptEntry) -> None:
        try:
            if entry.content:
                self._write("services/configs", entry.key, entry_json(entry))
            else:
                self._remove("services/configs", entry.key)
        except OSError as error:
            log.warning("config entry not kept entry=%s error=%s", entry.key, error)

    def _write_name(self, root: Path, node: NodeName) -> None:
        try:
            keep_only(root, node)
        except OSError as error:
            log.warning("name of the node not kept error=%s", error)

    def _apply(self, changes: Changes) -> None:
        for service in changes.services:
            self._write("services", service.record.id, service_json(service))
        for check in changes.checks:
            self._write("checks", check.record.id, check_json(check))
        for check_id in changes.gone_checks:
            self._remove("checks", check_id)
            self._remove("checks/state", check_id)
        for check_id in changes.now_in_files:
            self._remove("checks", check_id)
        for service_id in changes.gone_services:
            self._remove("services", service_id)

    def _write(self, folder: str, key: str, content: Json) -> None:
        encoded = _encode(content)
        path = self._path(folder, key)
        with contextlib.suppress(FileNotFoundError):
            if path.read_bytes() == encoded:
                os.utime(path)  # registered again unchanged: no need to wear the disk
                return
        write_durably(path, encoded)

    def _remove(self, folder: str, key: str) -> None:
        path = self._path(folder, key)
        try:
            path.unlink()
        except FileNotFoundError:
            return
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _path(self, folder: str, key: str) -> Path:
        return self._folder(folder) / hashlib.sha256(key.encode()).hexdigest()

    def _folder(self, folder: str) -> Path:
        assert self._root is not None
        path = self._root / folder
        # mkdir gives its mode to the last part only.
        for part in (*reversed(path.relative_to(self._root).parents[:-1]), Path(folder)):
            (self._root / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _load(self, node: NodeName) -> Loaded:
        if self._root is None:
            return Loaded()
        return Loaded(
            services=tuple(
                replace(service, kept_at=kept_at)
                for service, kept_at in self._read(
                    "services", lambda data: read_service(data, node)
                )
            ),
            checks=tuple(
                replace(check, kept_at=kept_at)
                for check, kept_at in self._read("checks", lambda data: read_check(data, node))
            ),
            states=tuple(state for state, _ in self._read("checks/state", read_state)),
            entries=self._load_entries(self._root / "services/configs"),
            former_names=former_names(self._root, node),
        )

    def _load_entries(self, folder: Path) -> tuple[KeptEntry, ...]:
        """A host without proxies has no such folder."""
        if not folder.is_dir():
            return ()
        return tuple(entry for entry, _ in self._read("services/configs", read_entry))

    def _read(self, folder: str, decode: Callable[[Json], T]) -> Iterator[tuple[T, float]]:
        """What each file holds, and when it was written."""
        for path in sorted(_regular(self._folder(folder))):
            try:
                stat = path.stat()
                if stat.st_size > FILE_BYTES_MAX:
                    raise StoredError("the file is too large")
                yield decode(json.loads(path.read_bytes())), stat.st_mtime
            except (OSError, ValueError, RecursionError) as error:
                log.warning("skipping what cannot be read path=%s error=%s", path, error)


def _regular(folder: Path) -> Iterable[Path]:
    return (path for path in folder.iterdir() if path.is_file() and not path.name.endswith("tmp"))


def _encode(content: Json) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
