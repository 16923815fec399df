"""Errors of the proxy. What a connection dies of is a reason word in a `Record`, not an error."""

from __future__ import annotations


class ProxyError(Exception):
    """Root of the proxy's errors."""


class IdentityError(ProxyError):
    """A certificate or URI that names nobody we know how to name."""


class SourceError(ProxyError):
    """The proxy cannot learn what it must do. The text is shown to the operator."""


class TlsMaterialError(ProxyError):
    """A leaf, its key or the roots cannot be used; the old ones stay in service."""


class AmbiguousPath(ProxyError):
    """A request's path that the application might read otherwise than we do."""


class UnreadablePattern(ProxyError):
    """A regular expression that this version cannot match in bounded time."""


class HttpViolation(ProxyError):
    """A message that is none, or that has more than one reading; ``status`` is the answer to it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class PipeClosed(OSError):
    """The other side is gone; the text is a word for logs."""


class NoHandshake(OSError):
    """The handshake failed; ``reason`` is a word for logs."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail
