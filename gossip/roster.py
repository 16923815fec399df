"""Serf's view of the ring: statuses and the intents that tell a leave from a failure.

Gossip wire contract, sections 5.2 and 5.6. "Left" needs two facts, the intent and the end; this
remembers whichever came first. It also keeps failed and left members much longer than SWIM does.
"""

from __future__ import annotations

import enum
import ipaddress
import random
from collections import Counter
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace

from gossip.config import GossipConfig


class MemberStatus(enum.IntEnum):
    """Serf's numbers, as they are on the wire."""

    NONE = 0
    ALIVE = 1
    LEAVING = 2
    LEFT = 3
    FAILED = 4


ENDED = (MemberStatus.FAILED, MemberStatus.LEFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member as the application sees it."""

    name: str
    address: str
    port: int
    tags: Mapping[str, str]
    status: MemberStatus
    protocol_min: int
    protocol_max: int
    protocol_current: int
    delegate_min: int
    delegate_max: int
    delegate_current: int


class MemberEventKind(enum.Enum):
    """What happened to a member."""

    JOIN = "join"
    LEAVE = "leave"
    FAILED = "failed"
    UPDATE = "update"
    REAP = "reap"


@dataclass(frozen=True, slots=True)
class MemberEvent:
    """A change of Serf's view; ``member`` is how it is afterwards."""

    kind: MemberEventKind
    member: Member


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Entry:
    """What Serf holds of one member: a value, the roster makes a new one for each change."""

    name: str
    ip: bytes
    port: int
    tags: Mapping[str, str]
    versions: bytes
    status: MemberStatus
    status_ltime: int = 0
    ended_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Particulars:
    """What SWIM knows of a member and Serf passes on."""

    ip: bytes
    port: int
    tags: Mapping[str, str]
    versions: bytes


@dataclass(frozen=True, slots=True)
class BufferedIntent:
    """The newest intent about a name that is not a member yet."""

    leave: bool
    ltime: int
    at: float


class Roster:
    """All members Serf knows, by name, with their statuses."""

    __slots__ = ("_config", "_counts", "_ended", "_intents", "entries")

    def __init__(self, config: GossipConfig) -> None:
        self._config = config
        self.entries: MutableMapping[str, Entry] = {}
        self._intents: dict[str, BufferedIntent] = {}
        # Whoever failed or left, in the order of their ends: what is done now and then is done for
        # them only, so that a large quiet ring costs nothing.
        self._ended: dict[str, None] = {}
        self._counts: Counter[MemberStatus] = Counter()

    def adopt(self, entries: MutableMapping[str, Entry]) -> None:
        """Begin with members that are known already, all of them alive.

        The mapping is kept and changed in place; it may share its values with other rosters.
        """
        self.entries = entries
        self._ended = {}
        self._counts = Counter({MemberStatus.ALIVE: len(entries)})

    def __len__(self) -> int:
        return len(self.entries)

    def member(self, name: str) -> Member | None:
        entry = self.entries.get(name)
        return None if entry is None else view(entry)

    def count(self, status: MemberStatus) -> int:
        return self._counts[status]

    def left_names(self) -> tuple[str, ...]:
        """Members that left, in a stable order."""
        return tuple(sorted(self._with(MemberStatus.LEFT)))

    def _with(self, status: MemberStatus) -> list[str]:
        """The names of the failed, or of those that left."""
        return [name for name in self._ended if self.entries[name].status is status]

    def _put(self, entry: Entry) -> Entry:
        """The one place where an entry changes."""
        before = self.entries.get(entry.name)
        if before is not None:
            self._counts[before.status] -= 1
        self._counts[entry.status] += 1
        if entry.status not in ENDED:
            self._ended.pop(entry.name, None)
        else:
            self._ended.setdefault(entry.name)
        self.entries[entry.name] = entry
        return entry

    def joined(self, name: str, known: Particulars) -> MemberEvent:
        """SWIM says it is alive. A buffered intent for the name is applied to a new entry."""
        entry = self.entries.get(name)
        if entry is None:
            entry = Entry(
                name=name,
                ip=known.ip,
                port=known.port,
                tags=known.tags,
                versions=known.versions,
                status=MemberStatus.ALIVE,
            )
            intent = self._intents.pop(name, None)
            if intent is not None:
                status = MemberStatus.LEAVING if intent.leave else MemberStatus.ALIVE
                entry = replace(entry, status_ltime=intent.ltime, status=status)
        else:
            entry = replace(_refreshed(entry, known), status=MemberStatus.ALIVE)
        return MemberEvent(MemberEventKind.JOIN, view(self._put(entry)))

    def updated(self, name: str, known: Particulars) -> MemberEvent | None:
        """SWIM says its particulars changed."""
        entry = self.entries.get(name)
        if entry is None:
            return None
        return MemberEvent(MemberEventKind.UPDATE, view(self._put(_refreshed(entry, known))))

    def ended(self, name: str, now: float) -> MemberEvent | None:
        """SWIM says it is dead or gone: left if it meant to, failed otherwise."""
        entry = self.entries.get(name)
        if entry is None:
            return None
        if entry.status is MemberStatus.LEAVING:
            status, kind = MemberStatus.LEFT, MemberEventKind.LEAVE
        elif entry.status is MemberStatus.ALIVE:
            status, kind = MemberStatus.FAILED, MemberEventKind.FAILED
        else:
            return None
        return MemberEvent(kind, view(self._put(replace(entry, status=status, ended_at=now))))

    def leave_intent(
        self, name: str, ltime: int, *, prune: bool, now: float
    ) -> tuple[bool, list[MemberEvent]]:
        """It means to leave. The flag says whether that was news, to be passed on."""
        entry = self.entries.get(name)
        if entry is None:
            return self._buffer(name, BufferedIntent(True, ltime, now)), []
        if ltime <= entry.status_ltime:
            return False, []
        entry = replace(entry, status_ltime=ltime)
        events: list[MemberEvent] = []
        if entry.status is MemberStatus.ALIVE:
            self._put(replace(entry, status=MemberStatus.LEAVING))
            return True, events  # pruned when it has ended; see reap
        failed = entry.status is MemberStatus.FAILED
        if failed:
            entry = replace(entry, status=MemberStatus.LEFT)  # the time of its failure stays
        self._put(entry)
        if failed:
            events.append(MemberEvent(MemberEventKind.LEAVE, view(entry)))
        if prune:
            events.append(self.erase(name))
        return True, events

    def join_intent(self, name: str, ltime: int, now: float) -> bool:
        """It joined, or took back its leave. True when that was news, to be passed on."""
        entry = self.entries.get(name)
        if entry is None:
            return self._buffer(name, BufferedIntent(False, ltime, now))
        if ltime <= entry.status_ltime:
            return False
        entry = replace(entry, status_ltime=ltime)
        if entry.status is MemberStatus.LEAVING:
            entry = replace(entry, status=MemberStatus.ALIVE)
        self._put(entry)
        return True

    def _buffer(self, name: str, intent: BufferedIntent) -> bool:
        older = self._intents.get(name)
        if older is not None and intent.ltime <= older.ltime:
            return False
        if older is None and len(self._intents) >= self._config.intents_max:
            return False
        self._intents[name] = intent
        return True

    def erase(self, name: str) -> MemberEvent:
        """Forget a member."""
        entry = self.entries.pop(name)
        self._counts[entry.status] -= 1
        self._ended.pop(name, None)
        return MemberEvent(MemberEventKind.REAP, view(entry))

    def reap(self, now: float) -> list[MemberEvent]:
        """Forget who failed or left long ago, and stale intents."""
        config = self._config
        ended = [self.entries[name] for name in self._ended]
        old = [e.name for e in ended if now - e.ended_at > self._kept_for_s(e)]
        keep_from = now - config.recent_intent_timeout_s
        self._intents = {n: i for n, i in self._intents.items() if i.at >= keep_from}
        return [self.erase(name) for name in old]

    def _kept_for_s(self, entry: Entry) -> float:
        """How long a member that ended is remembered; a failed one may have asked for its own."""
        config = self._config
        if entry.status is MemberStatus.LEFT:
            return config.tombstone_timeout_s
        asked = config.reconnect_timeout_of
        own = asked(entry.tags) if asked is not None else None
        return config.reconnect_timeout_s if own is None else own

    def reconnect_choice(self, rng: random.Random) -> Entry | None:
        """A failed member to try again, at most as often as the ring is troubled."""
        failed = self._with(MemberStatus.FAILED)
        if not failed:
            return None
        left = self.count(MemberStatus.LEFT)
        others = max(1, len(self.entries) - len(failed) - left)
        if rng.random() > len(failed) / others:
            return None
        return self.entries[rng.choice(failed)]

    def check(self) -> None:
        """Assert the roster's invariants."""
        for name, entry in self.entries.items():
            assert entry.name == name
            assert name not in self._intents, "an intent about a member is never buffered"
        assert len(self._intents) <= self._config.intents_max
        assert set(self._ended) == {n for n, e in self.entries.items() if e.status in ENDED}
        assert +self._counts == Counter(e.status for e in self.entries.values())


def _refreshed(entry: Entry, known: Particulars) -> Entry:
    return replace(entry, ip=known.ip, port=known.port, tags=known.tags, versions=known.versions)


def view(entry: Entry) -> Member:
    """The application's picture of an entry."""
    versions = entry.versions if len(entry.versions) == 6 else bytes(6)
    return Member(
        name=entry.name,
        address=address_text(entry.ip),
        port=entry.port,
        tags=entry.tags,
        status=entry.status,
        protocol_min=versions[0],
        protocol_max=versions[1],
        protocol_current=versions[2],
        delegate_min=versions[3],
        delegate_max=versions[4],
        delegate_current=versions[5],
    )


def address_text(ip: bytes) -> str:
    """Raw address bytes as people write them; the mapped form of IPv4 as IPv4."""
    if len(ip) not in (4, 16):
        return ""
    address = ipaddress.ip_address(ip)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
