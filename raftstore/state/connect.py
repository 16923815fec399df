"""The certificate authority's replicated part: configuration, roots, signing key, serial counter.

Decides compare-and-set and that exactly one root is active (mesh contract A.3). Keys, certificates
and times come finished in the command; making them is agent/connect's business.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from raftstore.commands import (
    SERIALS_MAX,
    Applied,
    NextSerial,
    Outcome,
    Rejected,
    SetCA,
    SetCAConfig,
)
from raftstore.queries import CARootsAnswer
from raftstore.records import CAConfig, CAProviderState, CARoot, same_content
from raftstore.signing_requests import OpenSigningRequest
from raftstore.state.tables import Indexes

_ROOTS = "ca-roots"
_CONFIG = "ca-config"
_SERIAL = "ca-serial"
_REQUEST = "ca-request"


class ConnectCA:
    """What the servers share of the authority."""

    __slots__ = ("_indexes", "config", "provider", "requested", "roots", "serial")

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self.config: CAConfig | None = None
        self.roots: tuple[CARoot, ...] = ()
        self.provider: CAProviderState | None = None
        self.serial = 0
        #: Key of a certificate that somebody outside of the cluster is to sign; "" for none.
        self.requested = ""

    def set_ca(self, index: int, command: SetCA) -> Outcome:
        """Replace everything but the counter, unless the roots have moved since ``cas``."""
        if command.cas != (self._indexes.of(_ROOTS) if self.roots else 0):
            return Applied(index, False)
        if sum(root.active for root in command.roots) != 1:
            return Rejected(index, "there must be exactly one active CA root")
        if len({root.id for root in command.roots}) != len(command.roots):
            return Rejected(index, "a CA root is listed twice")
        stored = {root.id: root for root in self.roots}
        before = self.roots
        self.roots = tuple([_stamped(root, stored.get(root.id), index) for root in command.roots])
        self.provider = command.provider  # a secret: the journal of changes does not see it
        if command.provider.private_key == self.requested:
            self._request(index, "")
        self._indexes.record((_ROOTS, "", before or None, self.roots))
        self._indexes.raise_to(_ROOTS, index)
        self._put_config(index, command.config)
        return Applied(index, True)

    def set_config(self, index: int, command: SetCAConfig) -> Outcome:
        """Replace the configuration, unless it has moved since ``cas``."""
        if command.cas != self._indexes.of(_CONFIG):
            return Applied(index, False)
        self._put_config(index, command.config)
        return Applied(index, True)

    def _put_config(self, index: int, config: CAConfig) -> None:
        before = self.config
        created = before.create_index if before else index
        config = replace(config, create_index=created, modify_index=index)
        if before is not None and same_content(before, config):
            return
        self.config = config
        self._indexes.record((_CONFIG, "", without_secrets(before), without_secrets(config)))
        self._indexes.raise_to(_CONFIG, index)
        if before is None or before.cluster_id != config.cluster_id:
            self._indexes.raise_to(_ROOTS, index)  # their trust domain is made of it

    def open_request(self, index: int, command: OpenSigningRequest) -> Outcome:
        """Keep the key of a signing request, in the place of any other."""
        if not command.private_key:
            return Rejected(index, "a signing request has a key")
        self._request(index, command.private_key)
        return Applied(index, True)

    def _request(self, index: int, private_key: str) -> None:
        if private_key == self.requested:
            return
        before, self.requested = self.requested, private_key
        self._indexes.record((_REQUEST, "", key_print(before), key_print(private_key)))
        self._indexes.raise_to(_REQUEST, index)

    def next_serial(self, index: int, command: NextSerial) -> Outcome:
        """Count up; a number is spent even if its certificate is never made."""
        if not 1 <= command.count <= SERIALS_MAX:
            return Rejected(index, f"from 1 to {SERIALS_MAX} serial numbers are taken at a time")
        before = self.serial
        self.serial += command.count
        self._indexes.record((_SERIAL, "", before or None, self.serial))
        return Applied(index, before + 1)

    def roots_answer(self) -> CARootsAnswer:
        """The roots and what they vouch for."""
        cluster_id = self.config.cluster_id if self.config else ""
        return CARootsAnswer(f"{cluster_id}.consul" if cluster_id else "", self.roots)

    def trust_domain(self) -> tuple[str, int]:
        """The trust domain, and the index since when it is that."""
        config = self.config
        return ("", 0) if config is None else (f"{config.cluster_id}.consul", config.create_index)

    def roots_index(self) -> int:
        """Index of the roots and of the signing key."""
        return self._indexes.of(_ROOTS)

    def config_index(self) -> int:
        """Index of the configuration."""
        return self._indexes.of(_CONFIG)

    def request_index(self) -> int:
        """Index of the key that waits for its certificate."""
        return self._indexes.of(_REQUEST)

    def check(self) -> None:
        """Assert what only our own bug can break."""
        assert not self.roots or sum(root.active for root in self.roots) == 1
        assert (self.provider is None) == (not self.roots), "roots and key go together"


def key_print(private_key: str) -> str | None:
    """A key in the journal of changes: by that it can be told from another, and no more."""
    return hashlib.sha256(private_key.encode()).hexdigest()[:16] if private_key else None


#: Parts of a provider's configuration that only the servers may know, in lower case.
_SECRET_KEYS = frozenset({"privatekey", "token", "secretid"})


def without_secrets(config: CAConfig | None) -> CAConfig | None:
    """The configuration as the journal of changes may keep it."""
    if config is None or not any(key.lower() in _SECRET_KEYS for key in config.config):
        return config
    kept = {k: v for k, v in config.config.items() if k.lower() not in _SECRET_KEYS}
    return replace(config, config=kept)


def _stamped(root: CARoot, stored: CARoot | None, index: int) -> CARoot:
    if stored is None:
        return replace(root, create_index=index, modify_index=index)
    if same_content(root, stored):
        return stored
    return replace(root, create_index=stored.create_index, modify_index=index)
