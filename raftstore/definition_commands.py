"""Changes of what operators define. See commands.py; numbers are part of the log's format.

``cas`` as everywhere: only if the record's modify index is that, 0 for only if absent. Value: True,
or False when the comparison failed, unless a docstring says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftstore import definitions as d
from raftstore.commands import Command, numbered


@numbered(25)
@dataclass(frozen=True, slots=True)
class SetConfigEntry(Command):
    """Write a config entry."""

    entry: d.ConfigEntry
    cas: int | None = None


@numbered(26)
@dataclass(frozen=True, slots=True)
class DeleteConfigEntry(Command):
    """Delete a config entry; an absent one is gone already."""

    kind: str
    name: str
    cas: int | None = None


@numbered(27)
@dataclass(frozen=True, slots=True)
class SetACLToken(Command):
    """Write a token; one without a secret keeps the one it has.

    Rejections: "Invalid Token: …" without a secret, or with the secret of another token.
    """

    token: d.ACLToken
    cas: int | None = None


@numbered(28)
@dataclass(frozen=True, slots=True)
class DeleteACLTokens(Command):
    """Delete tokens by accessor; absent ones are fine. Value: how many there were."""

    accessors: tuple[str, ...]


@numbered(29)
@dataclass(frozen=True, slots=True)
class SetACLPolicy(Command):
    """Write a policy. Rejection: its name is taken."""

    policy: d.ACLPolicy
    cas: int | None = None


@numbered(30)
@dataclass(frozen=True, slots=True)
class DeleteACLPolicy(Command):
    """Delete a policy by id."""

    id: str


@numbered(31)
@dataclass(frozen=True, slots=True)
class SetACLRole(Command):
    """Write a role. Rejection: its name is taken."""

    role: d.ACLRole
    cas: int | None = None


@numbered(32)
@dataclass(frozen=True, slots=True)
class DeleteACLRole(Command):
    """Delete a role by id."""

    id: str


@numbered(33)
@dataclass(frozen=True, slots=True)
class SetACLAuthMethod(Command):
    """Write an auth method."""

    method: d.ACLAuthMethod
    cas: int | None = None


@numbered(34)
@dataclass(frozen=True, slots=True)
class DeleteACLAuthMethod(Command):
    """Delete an auth method with its binding rules and the tokens that it gave out."""

    name: str


@numbered(35)
@dataclass(frozen=True, slots=True)
class SetACLBindingRule(Command):
    """Write a binding rule. Rejection: no such auth method."""

    rule: d.ACLBindingRule
    cas: int | None = None


@numbered(36)
@dataclass(frozen=True, slots=True)
class DeleteACLBindingRule(Command):
    """Delete a binding rule by id."""

    id: str


@numbered(37)
@dataclass(frozen=True, slots=True)
class SetPreparedQuery(Command):
    """Write a prepared query.

    Rejections: its name is another's name or id, a second template for all names, no such session.
    """

    query: d.PreparedQuery
    cas: int | None = None


@numbered(38)
@dataclass(frozen=True, slots=True)
class DeletePreparedQuery(Command):
    """Delete a prepared query by id. Value: whether there was one."""

    id: str


@numbered(39)
@dataclass(frozen=True, slots=True)
class UpdateCoordinates(Command):
    """Write coordinates of many nodes; those of unknown nodes are dropped. Value: how many held."""

    updates: tuple[d.Coordinate, ...]


@numbered(75)
@dataclass(frozen=True, slots=True)
class BootstrapACL(Command):
    """Write the first management token, if there was none or ``reset_index`` names the last.

    Value: None. Rejections: "ACL bootstrap no longer allowed (reset index: N)", and those of
    ``SetACLToken``.
    """

    token: d.ACLToken
    reset_index: int = 0


@numbered(76)
@dataclass(frozen=True, slots=True)
class SetACLFact(Command):
    """Write a fact about access control."""

    fact: d.ACLFact
    cas: int | None = None
