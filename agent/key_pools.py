"""An operation on the ring's keys as Consul shows it: once per pool, LAN and WAN (contract 18).

The pools are rings of their own, so an operation goes over each of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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


def pools(lan: KeyReport, wan: KeyReport | None, datacenter: str) -> tuple[KeyPool, ...]:
    """The WAN pool, where this agent is in it, then the LAN pool."""
    shown = _pool(lan, datacenter, wan=False)
    return (shown,) if wan is None else (_pool(wan, datacenter, wan=True), shown)


def problems(found: tuple[KeyPool, ...]) -> list[str]:
    """What went wrong, a line each; empty when all is done."""
    return [line for pool in found for line in _problems(pool)]


def _problems(pool: KeyPool) -> Iterator[str]:
    if pool.error:
        yield f"{pool.title} error: {pool.error}"
        for name, text in pool.messages.items():
            yield f"{name}: {text}"


def _pool(report: KeyReport, datacenter: str, *, wan: bool) -> KeyPool:
    names = report.members
    held = [report.held[name] for name in names if name in report.held]
    return KeyPool(
        wan=wan,
        datacenter=datacenter,
        nodes=len(names),
        error=_error(report),
        messages={name: text for name, text in report.messages.items() if name in names},
        keys=dict(sorted(Counter(key for member in held for key in member.keys).items())),
        primary_keys=dict(sorted(Counter(member.primary for member in held).items())),
    )


def _error(report: KeyReport) -> str:
    names = report.members
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
