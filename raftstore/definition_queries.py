"""Questions about what operators define. See queries.py; numbers travel between agents.

Footprints: a table as a whole (table, ""), one record (table, key), and the records that share a
value (table:what, value).
"""

from __future__ import annotations

from dataclasses import dataclass

from raftstore.definitions import (
    ACLAuthMethod,
    ACLBindingRule,
    ACLPolicy,
    ACLRole,
    ACLToken,
    ConfigEntry,
    Coordinate,
    PreparedQuery,
)
from raftstore.queries import Footprint, Query, numbered
from raftstore.records import NodeName


@numbered(32, ConfigEntry | None)
@dataclass(frozen=True, slots=True)
class GetConfigEntry(Query[ConfigEntry | None]):
    """One config entry."""

    kind: str
    name: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("config-entries", f"{self.kind}/{self.name}"),)


@numbered(33, tuple[ConfigEntry, ...])
@dataclass(frozen=True, slots=True)
class ListConfigEntries(Query[tuple[ConfigEntry, ...]]):
    """The entries of a kind, or all with "", by kind and name."""

    kind: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("config-entries:kind", self.kind) if self.kind else ("config-entries", ""),)


@numbered(34, ACLToken | None)
@dataclass(frozen=True, slots=True)
class GetACLToken(Query[ACLToken | None]):
    """One token by accessor."""

    accessor: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-tokens", self.accessor),)


@numbered(35, ACLToken | None)
@dataclass(frozen=True, slots=True)
class ACLTokenBySecret(Query[ACLToken | None]):
    """The token with this hash of its secret (``state.definitions.secret_hash``)."""

    secret_hash: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-tokens:secret", self.secret_hash),)


@numbered(36, tuple[ACLToken, ...])
@dataclass(frozen=True, slots=True)
class ListACLTokens(Query[tuple[ACLToken, ...]]):
    """All tokens, by accessor."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-tokens", ""),)


@numbered(37, tuple[ACLToken, ...])
@dataclass(frozen=True, slots=True)
class ExpiringACLTokens(Query[tuple[ACLToken, ...]]):
    """At most ``limit`` tokens that expire at or before a time (Unix seconds), soonest first."""

    until: float
    limit: int = 256

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-tokens", ""),)


@numbered(38, ACLPolicy | None)
@dataclass(frozen=True, slots=True)
class GetACLPolicy(Query[ACLPolicy | None]):
    """One policy by id, or by name when that is set."""

    id: str = ""
    name: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-policies:name", self.name) if self.name else ("acl-policies", self.id),)


@numbered(39, tuple[ACLPolicy, ...])
@dataclass(frozen=True, slots=True)
class ListACLPolicies(Query[tuple[ACLPolicy, ...]]):
    """All policies, by id."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-policies", ""),)


@numbered(40, ACLRole | None)
@dataclass(frozen=True, slots=True)
class GetACLRole(Query[ACLRole | None]):
    """One role by id, or by name when that is set."""

    id: str = ""
    name: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-roles:name", self.name) if self.name else ("acl-roles", self.id),)


@numbered(41, tuple[ACLRole, ...])
@dataclass(frozen=True, slots=True)
class ListACLRoles(Query[tuple[ACLRole, ...]]):
    """All roles, by id."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-roles", ""),)


@numbered(42, ACLAuthMethod | None)
@dataclass(frozen=True, slots=True)
class GetACLAuthMethod(Query[ACLAuthMethod | None]):
    """One auth method."""

    name: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-auth-methods", self.name),)


@numbered(43, tuple[ACLAuthMethod, ...])
@dataclass(frozen=True, slots=True)
class ListACLAuthMethods(Query[tuple[ACLAuthMethod, ...]]):
    """All auth methods, by name."""

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-auth-methods", ""),)


@numbered(44, ACLBindingRule | None)
@dataclass(frozen=True, slots=True)
class GetACLBindingRule(Query[ACLBindingRule | None]):
    """One binding rule."""

    id: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-binding-rules", self.id),)


@numbered(45, tuple[ACLBindingRule, ...])
@dataclass(frozen=True, slots=True)
class ListACLBindingRules(Query[tuple[ACLBindingRule, ...]]):
    """The binding rules of an auth method, or all with "", by id."""

    auth_method: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        if self.auth_method:
            return (("acl-binding-rules:auth-method", self.auth_method),)
        return (("acl-binding-rules", ""),)


@numbered(46, PreparedQuery | None)
@dataclass(frozen=True, slots=True)
class GetPreparedQuery(Query[PreparedQuery | None]):
    """One prepared query by id."""

    id: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("prepared-queries", self.id),)


@numbered(47, PreparedQuery | None)
@dataclass(frozen=True, slots=True)
class FindPreparedQuery(Query[PreparedQuery | None]):
    """The query that answers for a name: the one called so, else the template with the longest
    name that the name begins with."""

    name: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("prepared-queries:name", self.name), ("prepared-queries:template", "yes"))


@numbered(48, tuple[PreparedQuery, ...])
@dataclass(frozen=True, slots=True)
class ListPreparedQueries(Query[tuple[PreparedQuery, ...]]):
    """The prepared queries bound to a session, or all with "", by id."""

    session: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        if self.session:
            return (("prepared-queries:session", self.session),)
        return (("prepared-queries", ""),)


@numbered(49, tuple[Coordinate, ...])
@dataclass(frozen=True, slots=True)
class ListCoordinates(Query[tuple[Coordinate, ...]]):
    """All coordinates, or those of one node (name compared without case)."""

    node: NodeName = NodeName("")

    def footprint(self) -> tuple[Footprint, ...]:
        return (("coordinates:node", self.node.lower()) if self.node else ("coordinates", ""),)


@numbered(70, tuple[Coordinate, ...])
@dataclass(frozen=True, slots=True)
class CoordinatesOf(Query[tuple[Coordinate, ...]]):
    """The coordinates of these nodes (names compared without case), in their order."""

    nodes: tuple[NodeName, ...] = ()

    def footprint(self) -> tuple[Footprint, ...]:
        named = tuple(("coordinates:node", node.lower()) for node in self.nodes)
        return named or (("coordinates", ""),)
