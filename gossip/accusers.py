"""Who accuses wrongly: an account of each accuser, and the quarantine of those that keep at it.

A member that hears nothing (its incoming packets are blocked) suspects everybody, and each of them
has to refute, at the cost of traffic and of trust in itself. So accusations are followed up:
*refuted* when the only accuser's subject contradicted, *proved* when others agreed or our own probe
failed too.
Who was refuted by several different members, and more than twice as often as proved, is quarantined
for a time: what it says is not believed but checked, by a probe of our own.

Nobody can silence a correct accuser with this, only slow it by one probe: a quarantined accusation
makes us probe its subject next, and the first that proves right ends the quarantine. One subject
counts once, a subject that several accuse counts against nobody, and only a part of the ring can be
in quarantine at a time. Pure, and bounded in all its memories.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gossip.config import GossipConfig

SUBJECTS_MAX = 16
"""Subjects remembered of one accuser."""
PROOFS_WEIGH = 2
"""One accusation that proved right makes up for so many that were refuted."""


class Outcome(enum.Enum):
    """What became of an accusation."""

    REFUTED = "refuted"
    PROVED = "proved"
    OPEN = "open"
    """Made in quarantine; our own probe of the subject will tell."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The last accusation of ``subject`` by the accuser in question, and what became of it."""

    subject: str
    outcome: Outcome
    at: float


@dataclass(frozen=True, slots=True)
class Account:
    """All that is remembered of one accuser. A value."""

    evidence: tuple[Evidence, ...] = ()
    """By subject, the latest last."""
    quarantined_at: float = 0.0
    quarantined_until: float = 0.0
    grounds: tuple[Evidence, ...] = ()
    """What the last quarantine was decided on."""
    doubted: int = 0
    """Accusations that were not believed."""

    def count(self, outcome: Outcome, since: float) -> int:
        return sum(e.outcome is outcome and e.at >= since for e in self.evidence)


class Accusers:
    """The accounts by accuser."""

    __slots__ = ("_accounts", "_config", "_open")

    def __init__(self, config: GossipConfig) -> None:
        self._config = config
        self._accounts: dict[str, Account] = {}
        # Subject -> who accused it in quarantine, and of which incarnation.
        self._open: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def get(self, accuser: str) -> Account | None:
        return self._accounts.get(accuser)

    def quarantined(self, accuser: str, now: float) -> bool:
        """Whether its word is checked instead of believed."""
        account = self._accounts.get(accuser)
        return account is not None and now < account.quarantined_until

    def count_quarantined(self, now: float) -> int:
        return sum(now < account.quarantined_until for account in self._accounts.values())

    def refuted(self, accuser: str, subject: str, *, ring_size: int, now: float) -> bool:
        """It alone accused, and the subject contradicted. True when that quarantines it."""
        account = self._note(accuser, subject, Outcome.REFUTED, now)
        config = self._config
        if account is None or now < account.quarantined_until or config.quarantine_s <= 0:
            return False
        since = now - config.quarantine_evidence_s
        wrong = account.count(Outcome.REFUTED, since)
        if wrong < config.quarantine_refuted_min:
            return False
        if wrong <= PROOFS_WEIGH * account.count(Outcome.PROVED, since):
            return False
        if self.count_quarantined(now) + 1 > ring_size * config.quarantine_share_max:
            return False
        for evidence in account.evidence:
            self._close(evidence.subject, accuser)
        self._accounts[accuser] = Account(
            quarantined_at=now,
            quarantined_until=now + config.quarantine_s,
            grounds=account.evidence,
            doubted=account.doubted,
        )
        return True

    def proved(self, accuser: str, subject: str, now: float) -> None:
        """It was right. That ends a quarantine, and what was held against it."""
        account = self._note(accuser, subject, Outcome.PROVED, now)
        if account is not None and now < account.quarantined_until:
            kept = tuple(e for e in account.evidence if e.outcome is not Outcome.REFUTED)
            self._accounts[accuser] = replace(account, evidence=kept, quarantined_until=now)

    def doubt(self, accuser: str, subject: str, incarnation: int, now: float) -> None:
        """An accusation that is not believed: our next probe of the subject decides."""
        account = self._note(accuser, subject, Outcome.OPEN, now)
        if account is not None:
            self._accounts[accuser] = replace(account, doubted=account.doubted + 1)
            self._open.setdefault(subject, {})[accuser] = incarnation

    def open_accuser(self, subject: str, incarnation: int) -> str:
        """Somebody in quarantine whose accusation of the subject, not below this incarnation, is
        not settled; else empty."""
        accusations = self._open.get(subject, {})
        return min((a for a, named in accusations.items() if named >= incarnation), default="")

    def checked(self, subject: str, *, alive: bool, ring_size: int, now: float) -> list[str]:
        """Our own probe of a subject ended: whoever accused it in quarantine was wrong or right.
        Gives those that it brings back into quarantine."""
        again = []
        for accuser in sorted(self._open.get(subject, ())):
            if not alive:
                self.proved(accuser, subject, now)
            elif self.refuted(accuser, subject, ring_size=ring_size, now=now):
                again.append(accuser)
        return again

    def _note(self, accuser: str, subject: str, outcome: Outcome, now: float) -> Account | None:
        """The account with one more entry; None for an accuser that there is no room for."""
        account = self._accounts.pop(accuser, None)
        if account is None:
            if len(self._accounts) >= self._config.accusers_max and not self._make_room(now):
                return None
            account = Account()
        since = now - self._config.quarantine_evidence_s
        others = [e for e in account.evidence if e.subject != subject]
        kept = [e for e in others if e.at >= since][-(SUBJECTS_MAX - 1) :]
        for dropped in others[: len(others) - len(kept)]:
            self._close(dropped.subject, accuser)
        if outcome is not Outcome.OPEN:
            self._close(subject, accuser)
        account = replace(account, evidence=(*kept, Evidence(subject, outcome, now)))
        self._accounts[accuser] = account  # the one heard of last stands last
        return account

    def _close(self, subject: str, accuser: str) -> None:
        waiting = self._open.get(subject)
        if waiting is not None:
            waiting.pop(accuser, None)
            if not waiting:
                del self._open[subject]

    def _make_room(self, now: float) -> bool:
        """Forget the one not heard of for longest, unless it is in quarantine."""
        for name, account in self._accounts.items():
            if now >= account.quarantined_until:
                for evidence in account.evidence:
                    self._close(evidence.subject, name)
                del self._accounts[name]
                return True
        return False

    def check(self) -> None:
        """Assert the bounds."""
        assert len(self._accounts) <= self._config.accusers_max
        for account in self._accounts.values():
            subjects = [e.subject for e in account.evidence]
            assert len(subjects) == len(set(subjects)) <= SUBJECTS_MAX
        for subject, accusers in self._open.items():
            for name in accusers:
                assert any(e.subject == subject for e in self._accounts[name].evidence)
