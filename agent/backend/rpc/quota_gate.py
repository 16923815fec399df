"""Bounds on requests of client agents, at the port of a server (agent/quotas.py).

What comes from other servers was counted where it came in. What keeps a cluster together (who
leads, how far the log is, who shows a token) is never refused.
"""

from __future__ import annotations

from collections.abc import Callable

from agent.backend.rpc import calls
from agent.backend.rpc.admission import site
from agent.quotas import Quotas
from raftstore.errors import DecodeError

WORDS = "rate limit exceeded, try again later or against a different server"
_READS = frozenset({calls.ASK})
_WRITES = frozenset({calls.CHANGE, calls.SIGN_LEAF})


class QuotaGate:
    """Says of each request whether it is one too many."""

    __slots__ = ("_is_server", "_quotas")

    def __init__(self, quotas: Quotas, is_server: Callable[[str], bool]) -> None:
        """``is_server``: is it the address of a server?"""
        self._quotas = quotas
        self._is_server = is_server

    def refuses(self, method: str, payload: bytes, client: str, now: float) -> bool:
        """Whether a request is refused. ``client`` is an address, ``now`` monotonic seconds."""
        if not self._quotas.active or self._is_server(client):
            return False
        secret = ""
        if method == calls.AS:
            try:
                secret, method, _ = calls.read_as(payload)
            except DecodeError:
                return False  # whoever carries it out says what is wrong with it
        if method not in _READS and method not in _WRITES:
            return False
        too_many = self._quotas.ask(
            write=method in _WRITES, token=secret, client=site(client), now=now
        )
        return too_many is not None and too_many.refused
