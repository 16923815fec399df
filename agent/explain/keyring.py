"""Which gossip keys each member holds, and how the last change of them from here went.

Keys are shown as fingerprints, for who may look is not always who may know them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Protocol

from agent.config.schema import AgentConfig
from gossip import KeyReport, Member, MemberStatus, RingKeys
from raftstore.records import Json

FINGERPRINT_DIGITS = 12


def fingerprint(key: str) -> str:
    """The first hex digits of the SHA-256 of a key's bytes; ``key`` is base64."""
    try:
        raw = base64.b64decode(key, validate=True)
    except (ValueError, binascii.Error):
        raw = key.encode("utf-8", "replace")
    return hashlib.sha256(raw).hexdigest()[:FINGERPRINT_DIGITS]


class KeyedPool(Protocol):
    """What is asked of this agent's member of the ring."""

    ring_keys: RingKeys

    def members(self) -> Sequence[Member]: ...


async def explain_keyring(config: AgentConfig, pool: KeyedPool) -> Json:
    """Members with their keys, whether they agree, and what stands in the way of a change."""
    keys = pool.ring_keys
    report = await keys.list()
    statuses = {member.name: member.status for member in pool.members()}
    held = report.held
    rings = {(member.primary, frozenset(member.keys)) for member in held.values()}
    return {
        "Encrypted": bool(config.gossip_keys),
        "File": keys.path or "none: kept in memory",
        "VerifyIncoming": config.encrypt_verify_incoming,
        "VerifyOutgoing": config.encrypt_verify_outgoing,
        "Agree": report.ok and len(rings) <= 1,
        "Members": {name: _member(report, name, statuses) for name in sorted(statuses)},
        "Running": _change(keys.running),
        "Last": _change(keys.last),
    }


def _member(report: KeyReport, name: str, statuses: dict[str, MemberStatus]) -> Json:
    shown: dict[str, Json] = {"Status": statuses[name].name.lower()}
    member = report.held.get(name)
    if member is not None:
        shown["Primary"] = fingerprint(member.primary)
        shown["Keys"] = sorted(map(fingerprint, member.keys))
    message = report.messages.get(name)
    if message:
        shown["Message"] = message
    return shown


def _change(report: KeyReport | None) -> Json:
    if report is None:
        return None
    return {
        "Operation": report.operation.name.lower(),
        "Refused": report.refused,
        "Done": sorted(report.done),
        "Failed": dict(report.failed),
        "Silent": dict(report.silent),
        "Away": list(report.away),
    }
