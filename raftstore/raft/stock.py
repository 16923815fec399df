"""PySyncObj as installed: checked against what we know, disarmed, and given our own ends.

Importing this module refuses any other version or source of PySyncObj than the one that
``engine`` was written for, and puts a stub that raises where it keeps its pickle module, so that
nothing from a peer or a file can ever be unpickled. The adapters carry PySyncObj's journal,
transport and poller interfaces to ours. Decides nothing about replication.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import warnings
import zlib
from collections.abc import Callable
from typing import Any, NoReturn

from raftstore.raft.log import Journal

# PySyncObj offers an encryption that we have no use for (peers speak TLS), and loads a library of
# 9 MB for it. It does without where that is not installed: so it is not, for this moment.
_FERNET = "cryptography.fernet"
_fernet = sys.modules.get(_FERNET)
sys.modules[_FERNET] = None  # type: ignore[assignment]  # as the import system has it for "none"
try:
    import pysyncobj.journal
    import pysyncobj.serializer
    import pysyncobj.syncobj
    import pysyncobj.tcp_connection
    import pysyncobj.version
    from pysyncobj import SyncObj as SyncObj
    from pysyncobj import SyncObjConf as SyncObjConf
    from pysyncobj.node import Node
    from pysyncobj.transport import Transport
finally:
    del sys.modules[_FERNET]
    if _fernet is not None:
        sys.modules[_FERNET] = _fernet

VERSION = "0.3.17"
SOURCES_SHA256 = "6728356aca8fa9ac82c69079cc30418e95f64d506ea7897112098e93a88d6499"
FILE_SHA256 = "e8bdf06797085d734df86e24ab4802fe87893dff77268565ec036f7ad4a1cfe4"
METHODS = (
    "_onTick",
    "_checkCommandsToApply",
    "_applyCommand",
    "transferLeadership",
    "_isLeader",
    "_getLeader",
    "__init__",
    "__onMessageReceived",
    "__sendAppendEntries",
    "__doApplyCommand",
    "__applyLogEntries",
    "__parseChangeClusterRequest",
    "__connectedToAnyone",
    "__tryLogCompaction",
    "__onBecomeLeader",
    "__setCurrentTerm",
    "__setState",
    "__generateRaftTimeout",
    "__getEntries",
    "__getCurrentLogIndex",
    "__getCurrentLogTerm",
    "__onNodeConnected",
    "__onNodeDisconnected",
    "__onLeaderChanged",
)
UNCHECKED_ENV = "LICTOR_ENGINE_UNCHECKED"


class EngineMismatch(RuntimeError):
    """The installed PySyncObj is not the one whose methods we replace."""


class NoPickle:
    """Stands where PySyncObj keeps its pickle module: nothing from a peer is ever unpickled."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"pickle.{name} reached: nothing may be pickled or unpickled")

    @staticmethod
    def to_bytes(data: Any) -> NoReturn:
        raise RuntimeError("pickle.to_bytes reached: nothing may be pickled or unpickled")


def sources_sha256() -> str:
    """Hash of the source text of every method that is replaced or relied on."""
    digest = hashlib.sha256()
    for name in METHODS:
        digest.update(inspect.getsource(getattr(SyncObj, _attribute(name))).encode())
    return digest.hexdigest()


def is_released_file() -> bool:
    """Is the engine's file byte for byte the released one, and every method still from it?

    Cheaper by far than to look up each method's source, and stricter.
    """
    path = inspect.getsourcefile(pysyncobj.syncobj) or ""
    try:
        with open(path, "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != FILE_SHA256:
                return False
    except OSError:
        return False
    methods = [getattr(SyncObj, _attribute(name), None) for name in METHODS]
    codes = [getattr(method, "__code__", None) for method in methods]
    return all(code is not None and code.co_filename == path for code in codes)


def _attribute(name: str) -> str:
    return name if not name.startswith("__") or name == "__init__" else f"_SyncObj{name}"


def check_engine() -> None:
    """Raise EngineMismatch unless the installed package is the one this file was written for."""
    version = pysyncobj.version.VERSION
    problem = ""
    if version != VERSION:
        problem = f"pysyncobj {version} is installed, {VERSION} is needed"
    elif not is_released_file():
        try:
            if sources_sha256() != SOURCES_SHA256:
                problem = f"pysyncobj {version} differs from the released source"
        except (OSError, AttributeError) as error:
            problem = f"the source of pysyncobj cannot be read: {error}"
    if not problem:
        return
    if os.environ.get(UNCHECKED_ENV) == "1":
        warnings.warn(f"{problem}; going on because {UNCHECKED_ENV}=1", stacklevel=2)
        return
    raise EngineMismatch(f"{problem}; replication would not be safe")


def now() -> float:
    """The engines' monotonic clock, in seconds."""
    value: float = pysyncobj.syncobj.monotonicTime()
    return value


def clock() -> Callable[[], float]:
    """What ``now`` asks, for who asks many times in a row."""
    found: Callable[[], float] = pysyncobj.syncobj.monotonicTime
    return found


def use_clock(clock: Callable[[], float]) -> Callable[[], float]:
    """Replace the engines' monotonic clock (simulation only) and return the one before."""
    before: Callable[[], float] = pysyncobj.syncobj.monotonicTime
    pysyncobj.syncobj.monotonicTime = clock
    return before


for _module in (
    pysyncobj.syncobj,
    pysyncobj.serializer,
    pysyncobj.tcp_connection,
):
    _module.pickle = NoPickle()
for _name in ("loads", "dumps", "to_bytes"):
    setattr(pysyncobj.journal, _name, NoPickle.to_bytes)
check_engine()


class PeerNode(Node):  # type: ignore[misc]
    """A server by its id. The hash does not depend on the interpreter's seed, so runs repeat."""

    def __init__(self, node_id: str) -> None:
        super().__init__(node_id)
        self._hash = zlib.crc32(node_id.encode())

    def __hash__(self) -> int:
        return self._hash


class StockLog:
    """PySyncObj's journal interface over ours. Positions count from the sentinel."""

    __slots__ = ("_journal",)

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __len__(self) -> int:
        return self._journal.last_index - self._journal.first_index + 1

    def __getitem__(self, item: Any) -> Any:
        journal = self._journal
        if isinstance(item, slice):
            start, stop, _ = item.indices(len(self))
            if start >= stop:
                return []
            return journal.entries(journal.first_index + start, journal.first_index + stop - 1)
        return journal.entry((journal.first_index if item >= 0 else journal.last_index + 1) + item)

    def add(self, command: bytes, index: int, term: int) -> None:
        self._journal.append((command, index, term))

    def setRaftCommitIndex(self, index: int) -> None:
        self._journal.commit_hint = index

    def setCurrentTerm(self, term: int, vote: str | None) -> None:
        self._journal.set_term(term, vote)

    def onOneSecondTimer(self) -> None:
        pass


class StockOutlet(Transport):  # type: ignore[misc]
    """Where PySyncObj sends: the only message it still makes itself is the vote request."""

    def __init__(self, request_vote: Callable[[str, dict[str, Any]], None]) -> None:
        super().__init__(None, None, [])
        self._request_vote = request_vote

    def send(self, node: Node, message: dict[str, Any]) -> bool:
        assert message["type"] == "request_vote", message["type"]
        self._request_vote(node.id, message)
        return True


class NoPoller:
    """PySyncObj polls sockets at the end of a tick; there are none."""

    def poll(self, timeout: float) -> None:
        pass
