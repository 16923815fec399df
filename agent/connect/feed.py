"""What one proxy must be told, as named resources with versions.

Decides what has changed since the proxy last heard, in which order it is told (what others refer to
comes first), and what is known of what the proxy made of it. Pure: versions are counted, times are
given. Two renderings of the same thing stand on it: the built-in proxy's stream, and later Envoy's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: Names of resources that went, remembered one by one; whoever lags further behind is told all.
REMOVED_MAX = 1024
REASON_MAX = 1024
#: First what others refer to. A name's kind is what stands before its "/".
ORDER = (
    "roots",
    "revocations",
    "leaf",
    "mesh",
    "jwt",
    "intentions",
    "endpoints",
    "chain",
    "upstream",
    "ingress-gateway",
    "terminating-gateway",
    "linked",
    "proxy",
)
#: Without these no proxy works, whatever its registration asks for.
ALWAYS = ("roots", "revocations", "leaf", "intentions", "mesh", "proxy")
_RANK = {kind: rank for rank, kind in enumerate(ORDER)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What to tell. With ``full`` whatever is not in it is gone.

    ``complete``: nothing is missing that the proxy's registration asks for.
    """

    version: str
    full: bool
    complete: bool
    resources: tuple[tuple[str, Any], ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a proxy. Times are those that the caller counts in; None for never."""

    version: str
    missing: tuple[str, ...]
    asked_at: float | None
    accepted: str
    accepted_at: float | None
    rejected: str
    rejected_at: float | None
    reason: str
    #: Where the proxy tells its metrics on this host; 0 for nowhere.
    admin_port: int = 0


class Feed:
    """The resources of one proxy. ``epoch`` tells this feed's versions from a former one's."""

    __slots__ = ("_accepted", "_accepted_at", "_changed_at", "_epoch", "_floor", "_reason",
                 "_rejected", "_rejected_at", "_removed", "_version", "_wanted", "admin_port",
                 "asked_at",
                 "resources")  # fmt: skip

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._version = 0
        self._floor = 0
        self._wanted: tuple[str, ...] = ALWAYS
        self.resources: dict[str, Any] = {}
        self._changed_at: dict[str, int] = {}
        self._removed: dict[str, int] = {}
        self.asked_at: float | None = None
        self.admin_port = 0
        self._accepted, self._accepted_at = 0, None  # type: tuple[int, float | None]
        self._rejected, self._rejected_at = 0, None  # type: tuple[int, float | None]
        self._reason = ""

    @property
    def version(self) -> str:
        """The version of what there is now."""
        return f"{self._epoch}.{self._version}"

    def want(self, names: Iterable[str]) -> None:
        """What must be there before the proxy can work as registered; others are dropped."""
        self._wanted = tuple(names)
        kept = set(self._wanted)
        for name in [name for name in self.resources if name not in kept]:
            self.drop(name)

    def set(self, name: str, value: Any) -> bool:
        """A resource is this now; whether that is news."""
        if name in self.resources and self.resources[name] == value:
            return False
        self._version += 1
        self.resources[name] = value
        self._changed_at[name] = self._version
        self._removed.pop(name, None)
        return True

    def drop(self, name: str) -> bool:
        """A resource is not there any more; whether that is news."""
        if name not in self.resources:
            return False
        self._version += 1
        del self.resources[name], self._changed_at[name]
        self._removed[name] = self._version
        if len(self._removed) > REMOVED_MAX:
            oldest = min(self._removed, key=self._removed.__getitem__)
            self._floor = self._removed.pop(oldest)
        return True

    def since(self, version: str) -> Delta:
        """What to tell a proxy that has this version ("" or one of another feed: it has none)."""
        known = self._number(version)
        full = known < self._floor or not known
        names = [name for name, at in self._changed_at.items() if full or at > known]
        names.sort(key=lambda name: (_RANK.get(name.partition("/")[0], len(ORDER)), name))
        gone = () if full else tuple(sorted(n for n, at in self._removed.items() if at > known))
        return Delta(
            version=self.version,
            full=full,
            complete=not self._missing(),
            resources=tuple((name, self.resources[name]) for name in names),
            removed=gone,
        )

    def is_news(self, version: str) -> bool:
        """Whether a proxy with this version has anything to hear."""
        return self._number(version) != self._version

    def _number(self, version: str) -> int:
        """Which of our versions a text means, 0 for none."""
        epoch, _, number = version.rpartition(".")
        if epoch != self._epoch or not number.isascii() or not number.isdigit():
            return 0
        found = int(number) if len(number) < 19 else 0
        return found if found <= self._version else 0

    def _missing(self) -> tuple[str, ...]:
        return tuple(name for name in self._wanted if name not in self.resources)

    def accept(self, version: str, now: float) -> bool:
        """The proxy works by this version; False for one that it was never told."""
        number = self._number(version)
        if not number:
            return False
        if number >= self._accepted:
            self._accepted, self._accepted_at = number, now
        if number >= self._rejected:
            self._rejected, self._rejected_at, self._reason = 0, None, ""
        return True

    def reject(self, version: str, reason: str, now: float) -> bool:
        """The proxy cannot work by this version and keeps the last good one."""
        number = self._number(version)
        if not number or number < self._rejected:
            return False
        self._rejected, self._rejected_at = number, now
        self._reason = reason[:REASON_MAX]
        return True

    def standing(self) -> Standing:
        """What is known of the proxy."""
        return Standing(
            version=self.version,
            missing=self._missing(),
            asked_at=self.asked_at,
            accepted=self._text(self._accepted),
            accepted_at=self._accepted_at,
            rejected=self._text(self._rejected),
            rejected_at=self._rejected_at,
            reason=self._reason,
            admin_port=self.admin_port,
        )

    def _text(self, number: int) -> str:
        return f"{self._epoch}.{number}" if number else ""
