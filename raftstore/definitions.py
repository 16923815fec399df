"""What operators define beside services and keys: config entries, ACL objects, prepared queries,
and where nodes are in the network.

Records as in records.py; ``content`` is plain JSON whose meaning belongs to the layers above. What
is needed to find a record, to keep it unique or to end it stands beside its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from raftstore.records import Json, NodeName


def secret_hash(secret: str) -> str:
    """What finds a token by its secret without telling the secret: SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEntry:
    """One entry of a kind such as ``service-defaults``."""

    kind: str
    name: str
    content: Json = None
    meta: Mapping[str, str] | None = None
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ACLToken:
    """A token. ``secret`` is shown in no log, history or repr; ``secret_hash`` finds it.

    ``policies`` and ``roles`` are ids; ``expires_at`` is Unix seconds, None for never.
    """

    accessor: str
    secret: str = field(default="", repr=False)
    secret_hash: str = ""
    policies: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    auth_method: str = ""
    expires_at: float | None = None
    content: Json = None
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ACLPolicy:
    """A named set of rules."""

    id: str
    name: str
    content: Json = None
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ACLRole:
    """A named set of policies (ids) and identities."""

    id: str
    name: str
    policies: tuple[str, ...] = ()
    content: Json = None
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ACLAuthMethod:
    """How a foreign identity is proved."""

    name: str
    type: str = ""
    content: Json = None
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ACLBindingRule:
    """What a proved identity gets."""

    id: str
    auth_method: str
    content: Json = None
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedQuery:
    """A stored query. It ends with its ``session``; a ``template`` answers for every name that
    begins with its own."""

    id: str
    name: str = ""
    session: str = ""
    template: bool = False
    content: Json = None
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinate:
    """Where a node is in the network, in one segment; ``content`` is the Vivaldi coordinate."""

    node: NodeName
    segment: str = ""
    content: Json = None
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ACLFact:
    """Something about access control as a whole, by name.

    "bootstrap" is there once the first management token was made; its modify index is what a
    reset has to name. "server" holds the secret by which servers know each other's requests.
    """

    name: str
    secret: str = field(default="", repr=False)
    create_index: int = 0
    modify_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualAddress:
    """The address of a service of the mesh as a whole, whatever instances it has; ``freed_at``
    (Unix seconds) says since when nobody has the name any more. ``linked`` is the switch's:
    services behind terminating gateways have addresses too."""

    service: str
    address: str = ""
    freed_at: float | None = None
    create_index: int = 0
    modify_index: int = 0
    linked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedLeaf:
    """Certificates of the mesh that count no more (mesh contract A.9): the one with ``serial``
    (hex with colons), or all of the SPIFFE id ``uri`` that were issued before ``before``.

    Times are Unix seconds. ``expires_at``: none of them is valid any more, so the entry may go.
    ``counter``: serials up to this one (their lower half) had been given out by then; 0: not known.
    """

    id: str
    serial: str = ""
    uri: str = ""
    before: float = 0.0
    reason: str = ""
    revoked_at: float = 0.0
    expires_at: float = 0.0
    create_index: int = 0
    modify_index: int = 0
    counter: int = 0


#: The kinds of definitions by the name of their table, in the order of snapshots: ONLY APPEND.
KINDS: dict[str, type] = {
    "config-entries": ConfigEntry,
    "acl-tokens": ACLToken,
    "acl-policies": ACLPolicy,
    "acl-roles": ACLRole,
    "acl-auth-methods": ACLAuthMethod,
    "acl-binding-rules": ACLBindingRule,
    "prepared-queries": PreparedQuery,
    "coordinates": Coordinate,
    "acl-facts": ACLFact,
    "virtual-addresses": VirtualAddress,
    "ca-revocations": RevokedLeaf,
}
