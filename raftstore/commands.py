"""Everything that may change the replicated state, as values.

A command carries all that applying it needs: ids, times and keys are made by the proposer, so that
every server computes the same result. Numbers are part of the log's format: ONLY APPEND. A field
is appended with a default; shorter arrays from older servers are then still read.

Applying never raises. It gives ``Applied`` with a value that the caller may need, or ``Rejected``
with a reason in the words that clients of Consul expect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from raftstore.records import (
    AutopilotConfig,
    CAConfig,
    CAProviderState,
    CARoot,
    Check,
    CheckId,
    IntentionSource,
    Node,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
    Session,
    TxnOperation,
)
from raftstore.thawed import maker_of


class Command:
    """Base of all commands; gives the registry its type."""

    __slots__ = ()
    number: ClassVar[int] = 0


REGISTRY: dict[int, type[Command]] = {}


def numbered(number: int) -> Any:
    def register(cls: type[Command]) -> type[Command]:
        assert number not in REGISTRY, f"command number {number} is taken"
        cls.number = number
        REGISTRY[number] = cls
        return cls

    return register


@dataclass(frozen=True, slots=True)
class RequestId:
    """Identity of a request over all its internal retries (raft-engine contract 2.8).

    ``sender`` is unique for a boot of an agent; ``counter`` rises by one per request; all counters
    below ``floor`` are finished and may be forgotten.
    """

    sender: str
    counter: int
    floor: int = 0


request_id = maker_of(RequestId)
"""A ``RequestId`` of all its fields: one is made for every write."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The command took effect at ``index``. ``value`` is what the command's docstring says."""

    index: int
    value: Any = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The state machine refused; nothing changed. ``reason`` is shown to the client."""

    index: int
    reason: str


Outcome = Applied | Rejected

applied = maker_of(Applied)
"""``Applied`` of index and value, for what is done for every entry of the log."""


@numbered(1)
@dataclass(frozen=True, slots=True, kw_only=True)
class Register(Command):
    """Create or update a node with, optionally, one service and some checks, in one step.

    With ``skip_node_update`` the stored node stays as it is if it exists. Value: None.
    Rejections: "Missing service registration on node …", "Node name … is reserved by node …".
    """

    node: Node
    service: Service | None = None
    checks: tuple[Check, ...] = ()
    skip_node_update: bool = False


@numbered(2)
@dataclass(frozen=True, slots=True, kw_only=True)
class Deregister(Command):
    """Remove a node with all it holds, or one service with its checks, or one check.

    ``service_id`` wins over ``check_id``; absent objects are fine. Value: None.
    """

    node: NodeName
    service_id: ServiceId = ServiceId("")
    check_id: CheckId = CheckId("")


@numbered(3)
@dataclass(frozen=True, slots=True, kw_only=True)
class KVSet(Command):
    """Write a key. With ``cas`` only if its modify index is that (0: only if absent).

    Value: True, or False when the comparison failed.
    """

    key: str
    value: bytes = b""
    flags: int = 0
    cas: int | None = None


kv_set = maker_of(KVSet)
"""A ``KVSet`` of all its fields, for the most usual write."""


@numbered(4)
@dataclass(frozen=True, slots=True, kw_only=True)
class KVDelete(Command):
    """Delete a key, with ``cas`` only at that modify index. Value: True or False."""

    key: str
    cas: int | None = None


@numbered(5)
@dataclass(frozen=True, slots=True, kw_only=True)
class KVDeleteTree(Command):
    """Delete every key with this prefix ("" is the whole store). Value: True."""

    prefix: str


@numbered(6)
@dataclass(frozen=True, slots=True, kw_only=True)
class SetIntention(Command):
    """Put one source into the destination's entry.

    ``mode``: "upsert" replaces what the pair had (keeping a legacy id), "create" is refused when
    the pair exists (`Sources[1] defines "web" more than once`), "update" replaces the intention
    whose legacy id is ``source.legacy_id`` ("Intention not found" otherwise). Value: None.
    """

    destination: ServiceName
    source: IntentionSource
    mode: Literal["upsert", "create", "update"] = "upsert"


@numbered(7)
@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteIntention(Command):
    """Delete by pair, or by ``legacy_id`` when that is set. Value: whether there was one."""

    destination: ServiceName = ServiceName("")
    source: ServiceName = ServiceName("")
    legacy_id: str = ""


@numbered(8)
@dataclass(frozen=True, slots=True, kw_only=True)
class SetCA(Command):
    """Replace configuration, root list and signing key in one step (mesh contract A.3, A.8).

    Applied only if the roots' index is still ``cas`` (0: there are none). Exactly one root is
    active. Value: True, or False when the comparison failed.
    """

    cas: int
    config: CAConfig
    roots: tuple[CARoot, ...]
    provider: CAProviderState


@numbered(9)
@dataclass(frozen=True, slots=True, kw_only=True)
class SetCAConfig(Command):
    """Replace the configuration only (TTLs, limits). Value: True, False on a lost ``cas``."""

    cas: int
    config: CAConfig


#: Serials of one command: as many leaves as are signed together, and no more than a bug may spend.
SERIALS_MAX = 1024


@numbered(10)
@dataclass(frozen=True, slots=True, kw_only=True)
class NextSerial(Command):
    """Take the next certificate serials, ``count`` of them in a row. Value: the first number.

    None is ever given out twice. Rejection: for a count below 1 or above ``SERIALS_MAX``.
    """

    count: int = 1


@numbered(11)
@dataclass(frozen=True, slots=True)
class SessionCreate(Command):
    """Begin a session under the id that its proposer made. Value: the id.

    Rejections: "Missing node registration", "Missing check 'x' registration", "Check 'x' is in
    critical state", and for an id that is taken or none.
    """

    session: Session


@numbered(12)
@dataclass(frozen=True, slots=True)
class SessionDestroy(Command):
    """End a session; its keys are freed or deleted as it was created to. Value: if there was one.

    ``cause`` is shown to those who ask why it ended. Rejection: for an id that is no UUID.
    """

    id: str
    cause: str = "destroyed by a client"


@numbered(13)
@dataclass(frozen=True, slots=True, kw_only=True)
class KVLock(Command):
    """Write a key and hold it for a session.

    Value: True, or False when another session holds it or a lock-delay keeps it free.
    Rejections: "missing session", `invalid session "…"`, and for an id that is no UUID.
    """

    key: str
    session: str
    value: bytes = b""
    flags: int = 0


@numbered(14)
@dataclass(frozen=True, slots=True, kw_only=True)
class KVUnlock(Command):
    """Write a key and give it free. Value: True for the holder, else False.

    Rejection: "missing session".
    """

    key: str
    session: str
    value: bytes = b""
    flags: int = 0


@numbered(15)
@dataclass(frozen=True, slots=True)
class Transaction(Command):
    """Carry out all operations in order, or none. Value: a ``TxnAnswer`` as wire bytes.

    Rejections: too many operations, or results over the limit.
    """

    operations: tuple[TxnOperation, ...]


@numbered(18)
@dataclass(frozen=True, slots=True, kw_only=True)
class BeginRestore(Command):
    """Make room for an archive that is about to be staged. Value: None.

    ``id`` is made by the proposer; the other two say where the archive is from. All its rows get
    the index of this command, which no row ever had. Rejection: another archive is being restored,
    and something of it came lately.
    """

    id: str
    saved_index: int
    saved_cluster: str = ""


@numbered(19)
@dataclass(frozen=True, slots=True, kw_only=True)
class StageRestore(Command):
    """Take one part of the archive, numbered from 0: a slice of its stream, compressed (zlib).

    Value: None. A part that is there already is fine. Rejections: for an archive that is not (any
    more) being restored, a part out of order, and one that cannot be read; the last ends it.
    """

    id: str
    part: int
    data: bytes


@numbered(20)
@dataclass(frozen=True, slots=True, kw_only=True)
class EndRestore(Command):
    """Put what was staged in force, if it is whole (``parts`` of them, SHA-256 of the stream), or
    forget it (``abandon``). Value: whether there was anything to do.

    Rejections: for an archive that is not being restored, and one that is not whole.
    """

    id: str
    parts: int = 0
    sha256: bytes = b""
    abandon: bool = False


@numbered(50)
@dataclass(frozen=True, slots=True, kw_only=True)
class SetAutopilot(Command):
    """Replace the autopilot's configuration; with ``cas`` only at that index (0: if absent).

    Value: True, or False when the comparison failed.
    """

    config: AutopilotConfig
    cas: int | None = None
