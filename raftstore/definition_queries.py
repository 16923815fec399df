"""Questions about what operators define. See queries.py; numbers travel between agents.

Footprints: a table as a whole (table, ""), one record (table, key), and the records that share a
value (table:what, value).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from raftstore import definitions as d
from raftstore.queries import Footprint, Query, numbered
from raftstore.records import NodeName

R_co = TypeVar("R_co", covariant=True)

#: The kind of entries that have a table of their own.
_INTENTIONS = "service-intentions"


class _All(Query[tuple[R_co, ...]]):
    """All records of a table, by key."""

    __slots__ = ()
    table: ClassVar[str]

    def footprint(self) -> tuple[Footprint, ...]:
        return ((self.table, ""),)


@dataclass(frozen=True, slots=True)
class _ByIdOrName(Query[R_co | None]):
    """One record by id, or by name when that is set."""

    table: ClassVar[str]
    id: str = ""
    name: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return ((f"{self.table}:name", self.name) if self.name else (self.table, self.id),)


def _group_or_all(table: str, kind: str, value: str) -> tuple[Footprint, ...]:
    """The records that share a value, or with "" all of the table."""
    return ((f"{table}:{kind}", value) if value else (table, ""),)


@numbered(32, d.ConfigEntry | None)
@dataclass(frozen=True, slots=True)
class GetConfigEntry(Query[d.ConfigEntry | None]):
    """One config entry (its name compared without case)."""

    kind: str
    name: str

    def footprint(self) -> tuple[Footprint, ...]:
        if self.kind == _INTENTIONS:
            return (("intentions", ""),)
        return (("config-entries", f"{self.kind}/{self.name.lower()}"),)


@numbered(33, tuple[d.ConfigEntry, ...])
@dataclass(frozen=True, slots=True)
class ListConfigEntries(Query[tuple[d.ConfigEntry, ...]]):
    """The entries of a kind, or all with "", by kind and name."""

    kind: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        if self.kind == _INTENTIONS:
            return (("intentions", ""),)
        found = _group_or_all("config-entries", "kind", self.kind)
        return found if self.kind else (*found, ("intentions", ""))


@numbered(34, d.ACLToken | None)
@dataclass(frozen=True, slots=True)
class GetACLToken(Query[d.ACLToken | None]):
    """One token by accessor, in any case."""

    accessor: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-tokens", self.accessor.lower()),)


@numbered(35, d.ACLToken | None)
@dataclass(frozen=True, slots=True)
class ACLTokenBySecret(Query[d.ACLToken | None]):
    """The token with this hash of its secret (``state.definitions.secret_hash``)."""

    secret_hash: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-tokens:secret", self.secret_hash),)


@numbered(36, tuple[d.ACLToken, ...])
@dataclass(frozen=True, slots=True)
class ListACLTokens(_All[d.ACLToken]):
    """All tokens, by accessor."""

    table: ClassVar[str] = "acl-tokens"


@numbered(37, tuple[d.ACLToken, ...])
@dataclass(frozen=True, slots=True)
class ExpiringACLTokens(Query[tuple[d.ACLToken, ...]]):
    """At most ``limit`` tokens that expire at or before a time (Unix seconds), soonest first."""

    until: float
    limit: int = 256

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-tokens", ""),)


@numbered(38, d.ACLPolicy | None)
@dataclass(frozen=True, slots=True)
class GetACLPolicy(_ByIdOrName[d.ACLPolicy]):
    """One policy by id, or by name when that is set."""

    table: ClassVar[str] = "acl-policies"


@numbered(39, tuple[d.ACLPolicy, ...])
@dataclass(frozen=True, slots=True)
class ListACLPolicies(_All[d.ACLPolicy]):
    """All policies, by id."""

    table: ClassVar[str] = "acl-policies"


@numbered(40, d.ACLRole | None)
@dataclass(frozen=True, slots=True)
class GetACLRole(_ByIdOrName[d.ACLRole]):
    """One role by id, or by name when that is set."""

    table: ClassVar[str] = "acl-roles"


@numbered(41, tuple[d.ACLRole, ...])
@dataclass(frozen=True, slots=True)
class ListACLRoles(_All[d.ACLRole]):
    """All roles, by id."""

    table: ClassVar[str] = "acl-roles"


@numbered(42, d.ACLAuthMethod | None)
@dataclass(frozen=True, slots=True)
class GetACLAuthMethod(Query[d.ACLAuthMethod | None]):
    """One auth method."""

    name: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-auth-methods", self.name),)


@numbered(43, tuple[d.ACLAuthMethod, ...])
@dataclass(frozen=True, slots=True)
class ListACLAuthMethods(_All[d.ACLAuthMethod]):
    """All auth methods, by name."""

    table: ClassVar[str] = "acl-auth-methods"


@numbered(44, d.ACLBindingRule | None)
@dataclass(frozen=True, slots=True)
class GetACLBindingRule(Query[d.ACLBindingRule | None]):
    """One binding rule."""

    id: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-binding-rules", self.id),)


@numbered(45, tuple[d.ACLBindingRule, ...])
@dataclass(frozen=True, slots=True)
class ListACLBindingRules(Query[tuple[d.ACLBindingRule, ...]]):
    """The binding rules of an auth method, or all with "", by id."""

    auth_method: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return _group_or_all("acl-binding-rules", "auth-method", self.auth_method)


@numbered(46, d.PreparedQuery | None)
@dataclass(frozen=True, slots=True)
class GetPreparedQuery(Query[d.PreparedQuery | None]):
    """One prepared query by id."""

    id: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("prepared-queries", self.id),)


@numbered(47, d.PreparedQuery | None)
@dataclass(frozen=True, slots=True)
class FindPreparedQuery(Query[d.PreparedQuery | None]):
    """The query that answers for a name (compared without case): the one called so, else the
    template with the longest name that the name begins with."""

    name: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("prepared-queries:name", self.name.lower()), ("prepared-queries:template", "yes"))


@numbered(48, tuple[d.PreparedQuery, ...])
@dataclass(frozen=True, slots=True)
class ListPreparedQueries(Query[tuple[d.PreparedQuery, ...]]):
    """The prepared queries bound to a session, or all with "", by id."""

    session: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        return _group_or_all("prepared-queries", "session", self.session)


@numbered(49, tuple[d.Coordinate, ...])
@dataclass(frozen=True, slots=True)
class ListCoordinates(Query[tuple[d.Coordinate, ...]]):
    """All coordinates, or those of one node (name compared without case)."""

    node: NodeName = NodeName("")

    def footprint(self) -> tuple[Footprint, ...]:
        return _group_or_all("coordinates", "node", self.node.lower())


@numbered(70, tuple[d.Coordinate, ...])
@dataclass(frozen=True, slots=True)
class CoordinatesOf(Query[tuple[d.Coordinate, ...]]):
    """The coordinates of these nodes (names compared without case), in their order.

    ``by_query`` as in ``HealthService``: whose instances are on these nodes.
    """

    nodes: tuple[NodeName, ...] = ()
    by_query: str = ""

    def footprint(self) -> tuple[Footprint, ...]:
        named = tuple(("coordinates:node", node.lower()) for node in self.nodes)
        return named or (("coordinates", ""),)


@numbered(110, d.ACLFact | None)
@dataclass(frozen=True, slots=True)
class GetACLFact(Query[d.ACLFact | None]):
    """One fact about access control. Answered to the server's own process only."""

    server_only: ClassVar[bool] = True
    name: str

    def footprint(self) -> tuple[Footprint, ...]:
        return (("acl-facts", self.name),)
