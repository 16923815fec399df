"""What another member's key query does to our keyring: durable first, then in force, then answered.

Gossip wire contract, section 6. One change at a time, in the order of arrival; a change that could
not be written is answered with the reason and changes nothing. Owned by gossip.queries.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable

from gossip.config import GossipConfig
from gossip.effects import SaveKeys
from gossip.errors import DecodeError, KeyringError
from gossip.keyring import Keyring, installed, removed, used
from gossip.stats import GossipStats
from gossip.wire import serf
from gossip.wire.serf import KeyResponse, Query

INSTALL_QUERY = "_serf_install-key"
USE_QUERY = "_serf_use-key"
REMOVE_QUERY = "_serf_remove-key"
LIST_QUERY = "_serf_list-keys"
KEY_QUERIES = (INSTALL_QUERY, USE_QUERY, REMOVE_QUERY, LIST_QUERY)
NO_KEYRING = "Keyring is empty (encryption not enabled)"
NO_KEYRING_TO_MODIFY = "No keyring to modify (encryption not enabled)"
RESPONSE_BYTES = 100  # for the response around a list of keys

Answer = Callable[[Query, bytes, float], object]


class KeyChanges:
    """The key queries that wait, and the one that is being written."""

    __slots__ = ("_answer", "_config", "_keyring", "_save", "_saving", "_stats", "_waiting")

    def __init__(
        self,
        config: GossipConfig,
        keyring: Keyring,
        stats: GossipStats,
        *,
        answer: Answer,
        save: Callable[[SaveKeys], None],
    ) -> None:
        self._config = config
        self._keyring = keyring
        self._stats = stats
        self._answer = answer
        self._save = save
        self._waiting: deque[Query] = deque()
        self._saving: tuple[Query, tuple[bytes, ...]] | None = None

    def receive(self, query: Query, now: float) -> None:
        """Answer now, or once the change is durable."""
        if query.name == LIST_QUERY:
            self._say(query, key_list(self._keyring, self._config.query_response_bytes_max), now)
        elif not self._keyring:
            self._say(query, KeyResponse(False, NO_KEYRING_TO_MODIFY), now)
        elif len(self._waiting) >= self._config.key_changes_max:
            self._say(
                query, KeyResponse(False, "too many changes of the keys wait for the disk"), now
            )
        else:
            self._waiting.append(query)
            self._advance(now)

    def saved(self, error: str, now: float) -> None:
        """The keys of the last SaveKeys are durable, or why they are not."""
        assert self._saving is not None, "keys saved that nobody wanted to save"
        query, keys = self._saving
        self._saving = None
        if error:
            self._say(query, KeyResponse(False, f"Failed to write keyring file: {error}"), now)
        else:
            self._apply(query, keys, now)
        self._advance(now)

    def _advance(self, now: float) -> None:
        while self._waiting and self._saving is None:
            query = self._waiting.popleft()
            try:
                keys = self._wanted(query)
            except (DecodeError, KeyringError) as error:
                self._say(query, KeyResponse(False, str(error)), now)
                continue
            if keys != self._keyring.keys and self._config.keyring_path:
                self._saving = (query, keys)
                self._save(SaveKeys(keys))
            else:
                self._apply(query, keys, now)

    def _wanted(self, query: Query) -> tuple[bytes, ...]:
        """The keyring as the query wants it. Raises DecodeError, KeyringError."""
        request = serf.decode(query.payload or b"")
        if not isinstance(request, serf.KeyRequest):
            raise DecodeError("not a key request")
        keys = self._keyring.keys
        if query.name == USE_QUERY:
            return used(keys, request.key)
        if query.name == REMOVE_QUERY:
            return removed(keys, request.key)
        wanted = installed(keys, request.key)
        if len(wanted) > max(self._config.keyring_keys_max, len(keys)):
            raise KeyringError(
                f"the keyring is full (limit {self._config.keyring_keys_max}): remove a key first"
            )
        return wanted

    def _apply(self, query: Query, keys: tuple[bytes, ...], now: float) -> None:
        if keys != self._keyring.keys:
            self._keyring.replace(keys)
            self._stats.key_changes += 1
        self._say(query, KeyResponse(True), now)

    def _say(self, query: Query, response: KeyResponse, now: float) -> None:
        self._answer(query, serf.encode(response), now)


def key_list(keyring: Keyring, limit_bytes: int) -> KeyResponse:
    """As many keys as fit into an answer; if that is not all, the text says so."""
    if not keyring:
        return KeyResponse(False, NO_KEYRING)
    keys = [base64.b64encode(key).decode() for key in keyring.keys]
    shown = min(len(keys), limit_bytes // 25)
    while True:
        text = ""
        if shown < len(keys):
            text = f"truncated key list response, showing first {shown} of {len(keys)} keys"
        answer = KeyResponse(True, text, tuple(keys[:shown]), keys[0])
        if len(serf.encode(answer)) <= limit_bytes - RESPONSE_BYTES or shown == 0:
            return answer
        shown -= 1
