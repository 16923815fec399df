"""SWIM and Serf, wire-compatible with memberlist: who is in the ring, and who has failed.

A library that knows neither the catalog nor the agent. The protocol lives in pure cores
(`gossip.serf` on `gossip.swim`), the sockets in `gossip.net`.
"""

from __future__ import annotations

from gossip.asking import Question
from gossip.config import GossipConfig
from gossip.effects import UserEventArrived
from gossip.errors import (
    ConfigError,
    DecodeError,
    GossipError,
    KeyringError,
    QueryError,
    RemoteError,
    UserEventTooLong,
)
from gossip.explain import MemberExplanation, PastTransition, RunningSuspicion
from gossip.joining import JoinResult
from gossip.keyring import Keyring
from gossip.net import Gossip
from gossip.query_streams import Answer, Answers
from gossip.ring_keys import RingKeys
from gossip.roster import Member, MemberEvent, MemberEventKind, MemberStatus
from gossip.rotation import KeyOperation, KeyReport, MemberKeys
from gossip.stats import GossipStats

__all__ = [
    "Answer",
    "Answers",
    "ConfigError",
    "DecodeError",
    "Gossip",
    "GossipConfig",
    "GossipError",
    "GossipStats",
    "JoinResult",
    "KeyOperation",
    "KeyReport",
    "Keyring",
    "KeyringError",
    "Member",
    "MemberEvent",
    "MemberEventKind",
    "MemberExplanation",
    "MemberKeys",
    "MemberStatus",
    "PastTransition",
    "QueryError",
    "Question",
    "RemoteError",
    "RingKeys",
    "RunningSuspicion",
    "UserEventArrived",
    "UserEventTooLong",
]
