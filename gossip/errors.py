"""What can go wrong in gossip. Errors of the far side never end the process: they are counted."""

from __future__ import annotations


class GossipError(Exception):
    """Root of the package's errors."""


class DecodeError(GossipError):
    """Bytes from outside do not have the promised shape, or break a limit."""

    def __init__(self, message: str, *, reason: str = "malformed") -> None:
        super().__init__(message)
        # One of a small fixed set of words, so that drops can be counted by cause.
        self.reason = reason


class KeyringError(GossipError):
    """A key has a wrong length, is missing, or cannot be removed."""


class QueryError(GossipError):
    """A query, or an answer to one, that cannot be sent: too long, too late, or too many run."""


class ConfigError(GossipError):
    """The configuration contradicts itself or the protocol's limits."""


class UserEventTooLong(ConfigError):
    """A user event does not fit; the words are Serf's, which clients compare."""

    def __init__(self, limit_bytes: int, when: str) -> None:
        super().__init__(
            f"user event exceeds configured limit of {limit_bytes} bytes {when} encoding"
        )


class RemoteError(GossipError):
    """The peer answered a stream with an error message, or refused the exchange."""
