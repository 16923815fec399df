"""One operation on the keys of the whole ring: whom to ask what, when to stop, how it went.

Gossip wire contract, section 6. A key must be everywhere before it is used anywhere, and out of use
everywhere before it is removed: so `use` and `remove` look first, at every live member, and change
nothing when one of them would be cut off. Silent members are asked again, for every step may be
repeated. Owned by gossip.ring_keys; no clock and no sockets.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gossip.errors import DecodeError
from gossip.key_changes import (
    INSTALL_QUERY,
    LIST_QUERY,
    NO_KEYRING,
    NO_KEYRING_TO_MODIFY,
    REMOVE_QUERY,
    USE_QUERY,
)
from gossip.wire import serf
from gossip.wire.serf import KeyRequest, KeyResponse

NODES_NAMED_MAX = 8
NODES_NAMED_BYTES_MAX = 512  # of a query's 1024
LACKS_KEY = "Requested key is not in the keyring"
IS_PRIMARY = "the key is the primary key of this member"
SILENT_BEFORE = "no answer, so its keys are not known"
SILENT_AFTER = "no answer: it may have changed its keys or not"
SILENT_LIST = "no answer"


class KeyOperation(enum.Enum):
    """What to do; the value is the query that does it."""

    INSTALL = INSTALL_QUERY
    USE = USE_QUERY
    REMOVE = REMOVE_QUERY
    LIST = LIST_QUERY


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this query; ``nodes`` are those it is meant for, everybody when empty."""

    name: str
    payload: bytes
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberKeys:
    """What a member says it holds; base64. ``note`` is there when that is not all."""

    keys: tuple[str, ...]
    primary: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """How it went. Of a change, every member is in one of ``done``, ``failed``, ``silent``; of one
    that was refused, those are named that stand against it."""

    operation: KeyOperation
    members: tuple[str, ...]
    done: frozenset[str]
    failed: Mapping[str, str]
    """Definite: these members did not do it, and say why."""
    silent: Mapping[str, str]
    """No answer from these. After ``changed`` they may have done it or not."""
    changed: bool
    """False: nothing was asked to change anywhere."""
    held: Mapping[str, MemberKeys] = field(default_factory=dict)
    away: tuple[str, ...] = ()
    """Failed members that may come back with other keys."""

    @property
    def refused(self) -> bool:
        """A change that was not begun, because it would cut members off."""
        return not self.changed and self.operation is not KeyOperation.LIST

    @property
    def ok(self) -> bool:
        return not self.failed and not self.silent

    @property
    def messages(self) -> dict[str, str]:
        """Per member what is wrong with it."""
        notes = {name: held.note for name, held in self.held.items() if held.note}
        return dict(sorted({**notes, **self.silent, **self.failed}.items()))


class Rotation:
    """An operation under way."""

    def __init__(self, operation: KeyOperation, key: bytes = b"", *, rounds_max: int = 3) -> None:
        self.operation = operation
        self._key = base64.b64encode(key).decode()
        self._payload = serf.encode(KeyRequest(key))
        self._rounds_max = rounds_max
        self._round = 0
        self._members: tuple[str, ...] = ()
        self._away: tuple[str, ...] = ()
        self._held: dict[str, MemberKeys] = {}
        self._failed: dict[str, str] = {}
        self._done: set[str] = set()
        self._looks = operation in (KeyOperation.USE, KeyOperation.REMOVE)
        self.finished = False

    @property
    def changing(self) -> bool:
        """Whether members are being asked to change, not only to tell."""
        return self.operation is not KeyOperation.LIST and not self._looks

    @property
    def missing(self) -> tuple[str, ...]:
        """Members that have not answered the present question."""
        heard = self._heard
        return tuple(name for name in self._members if name not in heard)

    @property
    def _heard(self) -> set[str]:
        told = self._held if not self.changing else ()
        return {*self._done, *self._failed, *told}

    def start(self, live: Iterable[str], away: Iterable[str] = ()) -> Ask:
        """The first question. ``live``: members that must take part; ``away``: the failed."""
        self._members = tuple(sorted(live))
        self._away = tuple(sorted(away))
        return self._ask()

    def answer(self, sender: str, payload: bytes) -> None:
        """A member's answer to the question that is out; what cannot be read is no answer."""
        if sender in self._heard:
            return
        try:
            response = serf.decode(payload)
        except DecodeError:
            return
        if not isinstance(response, KeyResponse):
            return
        if not response.result:
            self._failed[sender] = self._reason(response.message)
        elif self.changing:
            self._done.add(sender)
        else:
            self._held[sender] = MemberKeys(
                keys=response.keys or (), primary=response.primary_key, note=response.message
            )

    def round_over(self, live: Iterable[str]) -> Ask | None:
        """Nobody else will answer this question: the next one, or None when it is finished.

        ``live`` as of now: who failed meanwhile is not waited for, who came is asked, too.
        """
        present, heard = set(live), self._heard
        gone = set(self._members) - present - heard
        self._away = tuple(sorted(gone.union(self._away) - present))
        self._members = tuple(sorted(present | heard))
        if self.missing and self._round < self._rounds_max:
            return self._ask()
        if not self._looks or self.missing or self._refusals():
            self.finished = True
            return None
        self._looks = False
        self._round = 0
        self._members = tuple(sorted(present))
        return self._ask()

    def report(self) -> KeyReport:
        """How it went, or how far it is."""
        failed = dict(self._failed)
        silence = SILENT_AFTER if self.changing else SILENT_LIST
        if self._looks:
            failed |= self._refusals()
            silence = SILENT_BEFORE
        done = self._held.keys() if self.operation is KeyOperation.LIST else self._done
        return KeyReport(
            operation=self.operation,
            members=self._members,
            done=frozenset(done),
            failed=failed,
            silent={name: silence for name in self.missing if name not in failed},
            changed=self.changing,
            held=dict(self._held),
            away=self._away,
        )

    def _ask(self) -> Ask:
        self._round += 1
        missing = self.missing
        nodes: tuple[str, ...] = ()
        # The first question is for all: members that we do not know yet shall hear it, too.
        if self._round > 1 and len(missing) <= NODES_NAMED_MAX:
            size = sum(len(name.encode()) + 3 for name in missing)
            nodes = missing if size <= NODES_NAMED_BYTES_MAX else ()
        if self.changing:
            return Ask(self.operation.value, self._payload, nodes)
        return Ask(LIST_QUERY, serf.encode(KeyRequest(b"")), nodes)

    def _refusals(self) -> dict[str, str]:
        """Who would be cut off by the change, and why."""
        refusals = dict(self._failed)
        for name in self._members:
            held = self._held.get(name)
            if held is None:
                continue
            if self.operation is KeyOperation.REMOVE:
                if held.primary == self._key:
                    refusals[name] = IS_PRIMARY
            elif self._key not in held.keys:
                refusals[name] = f"{LACKS_KEY} ({held.note})" if held.note else LACKS_KEY
        return refusals

    def _reason(self, message: str) -> str:
        if message == NO_KEYRING and self.operation is not KeyOperation.LIST:
            return NO_KEYRING_TO_MODIFY
        return message or "refused without a reason"
