"""An operation on the ring's keys as Consul shows it: once per pool, LAN and WAN (contract 18).

There is one ring, and its servers stand for the WAN pool, under the names they would have there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from gossip import KeyReport
from gossip.key_changes import NO_KEYRING_TO_MODIFY


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPool:
    """How an operation went in one pool."""

    wan: bool
    datacenter: str
    nodes: int
    error: str
    """Empty when it is done everywhere."""
    messages: dict[str, str]
    keys: dict[str, int]
    """How many members hold each key."""
    primary_keys: dict[str, int]

    @property
    def title(self) -> str:
        return "WAN" if self.wan else f"{self.datacenter} (LAN)"


def pools(
    report: KeyReport, servers: Collection[str], datacenter: str, *, local_only: bool = False
) -> tuple[KeyPool, ...]:
    """The WAN pool, then the LAN pool; only the latter with ``local_only``."""
    lan = _pool(report, report.members, datacenter, wan=False)
    if local_only:
        return (lan,)
    names = [name for name in report.members if name in servers]
    return (_pool(report, names, datacenter, wan=True), lan) if names else (lan,)


def problems(found: tuple[KeyPool, ...]) -> list[str]:
    """What went wrong, a line each; empty when all is done."""
    return [line for pool in found for line in _problems(pool)]


def _problems(pool: KeyPool) -> Iterator[str]:
    if pool.error:
        yield f"{pool.title} error: {pool.error}"
        for name, text in pool.messages.items():
            yield f"{name}: {text}"


def _pool(report: KeyReport, names: Collection[str], datacenter: str, *, wan: bool) -> KeyPool:
    held = [report.held[name] for name in names if name in report.held]
    suffix = f".{datacenter}" if wan else ""
    messages = {f"{n}{suffix}": text for n, text in report.messages.items() if n in names}
    return KeyPool(
        wan=wan,
        datacenter=datacenter,
        nodes=len(names),
        error=_error(report, names),
        messages=messages,
        keys=dict(sorted(Counter(key for member in held for key in member.keys).items())),
        primary_keys=dict(sorted(Counter(member.primary for member in held).items())),
    )


def _error(report: KeyReport, names: Collection[str]) -> str:
    failed = [report.failed[name] for name in names if name in report.failed]
    silent = [name for name in names if name in report.silent]
    if not failed and not silent:
        return ""
    if failed:
        text = f"{len(failed)}/{len(names)} nodes reported failure"
    else:
        text = f"{len(names) - len(silent)}/{len(names)} nodes reported success"
    refused = report.refused and any(word != NO_KEYRING_TO_MODIFY for word in failed or [""])
    return f"{text}, nothing was changed" if refused else text
