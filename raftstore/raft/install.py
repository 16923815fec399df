"""Snapshots on their way from a leader to a follower that its log no longer reaches. Pure.

The leader offers a file; the follower says from which offset on it wants it; chunks follow in a
window that widens while answers come soon and halves when they come late, so that a slow line is
not clogged for the heartbeats behind. A lost message, link or leader costs what was on its way: the
next offer of the same file goes on where the follower has got to.

The follower takes nothing on trust: one file at a time, of the offered size at most, in order, and
no more of it in memory than a window. The file is verified as a whole and loaded into a state of
its own before anything changes; then, at the start of a step, when the log is at rest, log and
state are exchanged together, unless the log has meanwhile come as far by itself.

Files are read and written by the shell: it is told by tasks and answers with reports.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raftstore.raft.config import RaftConfig
from raftstore.raft.frames import (
    HAVE,
    REFUSED,
    WANT,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotReply,
    transfer_id,
)
from raftstore.raft.log import Journal, SnapshotPointer

if TYPE_CHECKING:
    from raftstore.raft.engine import RaftEngine

REFUSALS_MAX = 3


@dataclass(frozen=True, slots=True)
class ReadChunk:
    """Read of a file of ours; answered by ``ChunkRead``, or ``Unreadable``."""

    peer: str
    pointer: SnapshotPointer
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class BeginIncoming:
    """Make an empty file for so many bytes; answered by ``Written`` with 0, or ``Failed``."""

    transfer: int
    size: int


@dataclass(frozen=True, slots=True)
class WriteIncoming:
    """Append to it; answered by ``Written``, or ``Failed``."""

    transfer: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class LoadIncoming:
    """Make it durable, verify it, load it into a new state; answered by ``Loaded``, ``Failed``."""

    offer: SnapshotOffer


@dataclass(frozen=True, slots=True)
class DropIncoming:
    """The file, and a state loaded from it, are not wanted any more."""


Task = ReadChunk | BeginIncoming | WriteIncoming | LoadIncoming | DropIncoming


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """Bytes of our file for a peer."""

    peer: str
    transfer: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Our file cannot be read, or is there no more."""

    peer: str
    transfer: int


@dataclass(frozen=True, slots=True)
class Written:
    """The incoming file has this many bytes now."""

    transfer: int
    size: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The incoming file came to nothing: no room, or damaged."""

    transfer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The state is ready to be exchanged by ``swap``, the file has its name."""

    transfer: int
    pointer: SnapshotPointer
    config: tuple[int, bytes]
    stamp: float
    swap: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot of our own is on disk; the log may go up to ``trim_to``."""

    pointer: SnapshotPointer
    trim_to: int


Report = ChunkRead | Unreadable | Written | Failed | Loaded | Taken


class Sending:
    """One file to one peer."""

    __slots__ = (
        "_config",
        "_sent",
        "acknowledged",
        "asked_at",
        "next_offset",
        "pointer",
        "refused",
        "window",
    )

    def __init__(self, config: RaftConfig, pointer: SnapshotPointer, now: float) -> None:
        self._config = config
        self.pointer = pointer
        self.asked_at = now
        """When the peer was last asked for or told something that it has to answer."""
        self.window = config.install_chunk_bytes
        self.next_offset: int | None = None
        """None until the peer has said where to begin."""
        self.acknowledged = 0
        self.refused = False
        self._sent: deque[tuple[int, float]] = deque()  # end, asked at

    def reads(self, now: float) -> list[tuple[int, int]]:
        """(offset, size) of what the window has room for."""
        found: list[tuple[int, int]] = []
        if self.next_offset is None:
            return found
        while self.next_offset < min(self.acknowledged + self.window, self.pointer.size):
            size = min(self._config.install_chunk_bytes, self.pointer.size - self.next_offset)
            found.append((self.next_offset, size))
            self.next_offset += size
            self._sent.append((self.next_offset, now))
            self.asked_at = now
        return found

    def wanted(self, offset: int, now: float) -> None:
        """The peer has everything up to ``offset``."""
        chunk = self._config.install_chunk_bytes
        if self.next_offset is None:
            self.next_offset = offset
        elif offset > self.next_offset:
            return  # it never had that from us
        self.acknowledged = max(self.acknowledged, offset)
        while self._sent and self._sent[0][0] <= offset:
            _, at = self._sent.popleft()
            if now - at <= self._config.install_calm_s:
                self.window = min(self.window + chunk, self._config.install_window_bytes_max)
            else:
                self.window = max(self.window // 2, chunk)
        self.asked_at = now

    def offered(self, now: float) -> None:
        """Begin again: what was on its way counts as lost."""
        self._sent.clear()
        self.next_offset = None
        self.acknowledged = 0
        self.refused = False
        self.asked_at = now


class Receiving:
    """One file from whoever leads."""

    __slots__ = ("loading", "offer", "received", "written")

    def __init__(self, offer: SnapshotOffer) -> None:
        self.offer = offer
        self.received: int | None = None
        """Bytes accepted; None until the file is there."""
        self.written = 0
        self.loading = False


class Installs:
    """All transfers of one server. Called by the replica around each of its steps."""

    def __init__(self, config: RaftConfig, journal: Journal, engine: RaftEngine) -> None:
        self._config = config
        self._journal = journal
        self._engine = engine
        self._reports: list[Report] = []
        self._tasks: list[Task] = []
        self._sending: dict[str, Sending] = {}
        self._receiving: Receiving | None = None
        self.installed = 0
        self.sent = 0
        self.doubted = ""
        """Name of a file of ours that was refused again and again: a new one may do better."""
        self._refusals = 0
        engine.on_snapshot = self._message
        engine.on_connected = self._link_renewed

    # -- for the replica and the shell

    def report(self, report: Report) -> None:
        """The shell has carried out a task; taken up at the start of the next step."""
        self._reports.append(report)

    @property
    def wants_step(self) -> bool:
        """Is there a report to take up?"""
        return bool(self._reports)

    def held_index(self) -> int | None:
        """Index of the oldest snapshot that is being sent."""
        return min((sending.pointer.index for sending in self._sending.values()), default=None)

    def take_tasks(self) -> list[Task]:
        """What the shell has to do since the last call."""
        tasks, self._tasks = self._tasks, []
        return tasks

    def begin_step(self) -> None:
        """Before anything else happens in a step: the log in memory is the one on disk."""
        reports, self._reports = self._reports, []
        for report in reports:
            match report:
                case Taken():
                    self._taken(report)
                case Loaded():
                    self._loaded(report)
                case ChunkRead():
                    self._read(report)
                case Unreadable():
                    self._unreadable(report)
                case Written():
                    self._written(report)
                case Failed():
                    self._failed(report)

    def send(self) -> None:
        """Leader: offer and go on sending to whom the log no longer reaches."""
        engine, pointer = self._engine, self._journal.snapshot
        wanting = engine.peers_behind_log() if engine.leads() and pointer is not None else ()
        for peer in [peer for peer in self._sending if peer not in wanting]:
            del self._sending[peer]
        now = engine.now()
        for peer in wanting:
            assert pointer is not None
            sending = self._sending.get(peer)
            if sending is None:
                sending = self._sending[peer] = Sending(self._config, pointer, now)
                self._offer(peer, sending, now)
            elif now - sending.asked_at > self._config.install_retry_s:
                if sending.pointer.index < self._journal.first_index or sending.refused:
                    sending = self._sending[peer] = Sending(self._config, pointer, now)
                self._offer(peer, sending, now)
            for offset, size in sending.reads(now):
                self._tasks.append(ReadChunk(peer, sending.pointer, offset, size))

    def _link_renewed(self, peer: str) -> None:
        """What was on its way to the peer is lost."""
        self._sending.pop(peer, None)

    # -- sending

    def _offer(self, peer: str, sending: Sending, now: float) -> None:
        sending.offered(now)
        pointer = sending.pointer
        offer = SnapshotOffer(
            term=self._engine.term(),
            index=pointer.index,
            index_term=pointer.term,
            size=pointer.size,
            sha256=pointer.sha256,
        )
        self._engine.post(peer, offer)

    def _read(self, report: ChunkRead) -> None:
        sending = self._sending.get(report.peer)
        if sending is None or transfer_id(sending.pointer.sha256) != report.transfer:
            return
        chunk = SnapshotChunk(
            term=self._engine.term(),
            transfer=report.transfer,
            offset=report.offset,
            data=report.data,
        )
        self._engine.post(report.peer, chunk)

    def _unreadable(self, report: Unreadable) -> None:
        """Send the newest file instead; if it is that one, only a newer one can help."""
        sending = self._sending.get(report.peer)
        if sending is None or transfer_id(sending.pointer.sha256) != report.transfer:
            return
        if sending.pointer != self._journal.snapshot:
            del self._sending[report.peer]
        else:
            self.doubted = sending.pointer.name

    def _replied(self, peer: str, reply: SnapshotReply) -> None:
        sending = self._sending.get(peer)
        if reply.status == HAVE:
            # Committed entries are in every later leader's log, so this holds whichever file it is.
            self._engine.matched(peer, reply.offset)
            if sending is not None and reply.offset >= sending.pointer.index:
                del self._sending[peer]
                self._refusals = 0
                self.sent += 1
        elif sending is None or transfer_id(sending.pointer.sha256) != reply.transfer:
            return
        elif reply.status == REFUSED:
            sending.offered(self._engine.now())
            sending.refused = True
            self._refusals += 1
            if self._refusals >= REFUSALS_MAX:
                self.doubted, self._refusals = sending.pointer.name, 0
        else:
            sending.wanted(reply.offset, self._engine.now())

    # -- receiving

    def _message(self, peer: str, message: SnapshotOffer | SnapshotReply | SnapshotChunk) -> None:
        """The engine has seen to terms and leadership: offers and chunks are our leader's."""
        match message:
            case SnapshotOffer():
                self._offered(peer, message)
            case SnapshotChunk():
                self._chunk(message)
            case SnapshotReply():
                self._replied(peer, message)

    def _answer(self, transfer: int, status: int, offset: int) -> None:
        leader = self._engine.leader_id()
        if leader is None or self._engine.leads():
            return
        reply = SnapshotReply(
            term=self._engine.term(), transfer=transfer, status=status, offset=offset
        )
        self._engine.post(leader, reply, late=status == HAVE)

    def _offered(self, peer: str, offer: SnapshotOffer) -> None:
        current = self._receiving
        if offer.index <= self._engine.commit_index():
            if current is not None and not current.loading:
                self._receiving = None
                self._tasks.append(DropIncoming())
            self._answer(offer.transfer, HAVE, self._engine.commit_index())
        elif offer.size > self._config.install_bytes_max:
            self._answer(offer.transfer, REFUSED, 0)
        elif current is not None and current.offer.sha256 == offer.sha256:
            if current.received is not None and not current.loading:
                current.received = current.written
                self._answer(offer.transfer, WANT, current.written)
        elif current is not None and current.loading:
            self._answer(offer.transfer, REFUSED, 0)  # soon done with the other one
        else:
            self._receiving = Receiving(offer)
            self._tasks.append(BeginIncoming(offer.transfer, offer.size))

    def _chunk(self, chunk: SnapshotChunk) -> None:
        current, config = self._receiving, self._config
        if current is None or current.offer.transfer != chunk.transfer or current.loading:
            return
        if chunk.offset != current.received:
            return  # sent before a loss was noticed, or twice
        end = chunk.offset + len(chunk.data)
        most = config.install_window_bytes_max + config.install_chunk_bytes
        if end > current.offer.size or end - current.written > most:
            return  # no honest leader sends this
        current.received = end
        self._tasks.append(WriteIncoming(chunk.transfer, chunk.offset, chunk.data))

    def _written(self, report: Written) -> None:
        current = self._receiving
        if current is None or current.offer.transfer != report.transfer or current.loading:
            return
        if current.received is None:
            current.received = 0
        current.written = max(current.written, report.size)
        if current.written < current.offer.size:
            self._answer(report.transfer, WANT, current.written)
        else:
            current.loading = True
            self._answer(report.transfer, WANT, current.written)
            self._tasks.append(LoadIncoming(current.offer))

    def _failed(self, report: Failed) -> None:
        current = self._receiving
        if current is None or current.offer.transfer != report.transfer:
            return
        self._receiving = None
        self._tasks.append(DropIncoming())
        self._answer(report.transfer, REFUSED, 0)

    def _loaded(self, report: Loaded) -> None:
        """Exchange log and state, unless the log has come as far by itself."""
        engine = self._engine
        self._receiving = None
        if report.pointer.index <= engine.commit_index() or engine.leads():
            self._tasks.append(DropIncoming())
        else:
            engine.install(report.pointer, report.config, report.stamp)
            report.swap()
            self.installed += 1
        self._answer(report.transfer, HAVE, engine.commit_index())

    # -- our own

    def _taken(self, report: Taken) -> None:
        current = self._journal.snapshot
        if current is not None and current.index >= report.pointer.index:
            return  # a leader's was installed meanwhile
        self._journal.set_snapshot(report.pointer)
        self._journal.trim_to(report.trim_to)
