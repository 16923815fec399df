"""What operators define: ACL objects, prepared queries, coordinates, and the tables of all.

Decides what must be unique, what goes with what, and what the journal may see of a token. What the
definitions mean belongs to the layers above; config entries are changed by config_entries.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from raftstore import definition_commands as c
from raftstore import definition_queries as q
from raftstore import definitions as d
from raftstore import dns_queries as dns
from raftstore.commands import Applied, Outcome, Rejected
from raftstore.revocations import ListRevocations
from raftstore.state import revocations
from raftstore.state.config_entries import make_table
from raftstore.state.table import Table
from raftstore.state.tables import Indexes

Apply = Callable[[int, Any], Outcome]
Read = Callable[[Any], Any]

#: The fact that the first management token was made.
_BOOTSTRAP = "bootstrap"


class Definitions:
    """The tables of definitions."""

    def __init__(
        self,
        indexes: Indexes,
        has_node: Callable[[str], bool],
        session_problem: Callable[[str], str],
    ) -> None:
        """``session_problem`` says why nothing can be bound to a session, "" if it can."""
        self._indexes = indexes
        self._has_node = has_node
        self._session_problem = session_problem
        self.config: Table[d.ConfigEntry] = make_table(indexes)
        self.tokens: Table[d.ACLToken] = Table(
            "acl-tokens",
            indexes,
            key=lambda t: t.accessor.lower(),
            groups={
                "secret": lambda t: (t.secret_hash,),
                "auth-method": _of(lambda t: t.auth_method),
            },
            shown=lambda t: replace(t, secret=""),
            due_at=lambda t: t.expires_at,
        )
        self.policies: Table[d.ACLPolicy] = Table(
            "acl-policies", indexes, key=lambda p: p.id, groups={"name": lambda p: (p.name,)}
        )
        self.roles: Table[d.ACLRole] = Table(
            "acl-roles", indexes, key=lambda r: r.id, groups={"name": lambda r: (r.name,)}
        )
        self.methods: Table[d.ACLAuthMethod] = Table(
            "acl-auth-methods", indexes, key=lambda m: m.name, shown=_without_config
        )
        self.rules: Table[d.ACLBindingRule] = Table(
            "acl-binding-rules",
            indexes,
            key=lambda r: r.id,
            groups={"auth-method": lambda r: (r.auth_method,)},
        )
        self.queries: Table[d.PreparedQuery] = Table(
            "prepared-queries",
            indexes,
            key=lambda p: p.id,
            groups={
                "name": _of(lambda p: p.name.lower()),
                "session": _of(lambda p: p.session.lower()),
                "template": lambda p: ("yes",) if p.template else (),
            },
        )
        self.coordinates: Table[d.Coordinate] = Table(
            "coordinates",
            indexes,
            key=lambda x: f"{x.segment}/{x.node.lower()}",
            groups={"node": lambda x: (x.node.lower(),)},
        )
        self.facts: Table[d.ACLFact] = Table(
            "acl-facts", indexes, key=lambda f: f.name, shown=lambda f: replace(f, secret="")
        )
        self.virtual: Table[d.VirtualAddress] = Table(
            "virtual-addresses",
            indexes,
            key=lambda v: v.service,
            groups={"address": _of(lambda v: v.address)},
            due_at=lambda v: v.freed_at,
        )
        self.revoked: Table[d.RevokedLeaf] = revocations.make_table(indexes)
        in_order: tuple[Table[Any], ...] = (
            self.config, self.tokens, self.policies, self.roles, self.methods, self.rules,
            self.queries, self.coordinates, self.facts, self.virtual, self.revoked,
        )  # fmt: skip
        self.tables = {table.name: table for table in in_order}

    def appliers(self) -> dict[type, Apply]:
        """How each command is carried out."""
        return {
            c.SetACLToken: self._set_token,
            c.DeleteACLTokens: self._delete_tokens,
            c.SetACLPolicy: lambda i, x: self._set_named(
                i, self.policies, x.policy, x.cas, "Invalid Policy: A Policy"
            ),
            c.DeleteACLPolicy: lambda i, x: _deleted(i, self.policies, x.id),
            c.SetACLRole: lambda i, x: self._set_named(
                i, self.roles, x.role, x.cas, "Invalid Role: A Role"
            ),
            c.DeleteACLRole: lambda i, x: _deleted(i, self.roles, x.id),
            c.SetACLAuthMethod: self._set_method,
            c.DeleteACLAuthMethod: self._delete_method,
            c.SetACLBindingRule: self._set_rule,
            c.DeleteACLBindingRule: lambda i, x: _deleted(i, self.rules, x.id),
            c.SetPreparedQuery: self._set_query,
            c.DeletePreparedQuery: lambda i, x: Applied(i, bool(self.queries.remove(i, x.id))),
            c.UpdateCoordinates: self._update_coordinates,
            c.BootstrapACL: self._bootstrap,
            c.SetACLFact: lambda i, x: Applied(i, self.facts.put(i, x.fact, cas=x.cas)),
        }

    # Changes

    def _set_token(self, index: int, command: c.SetACLToken) -> Outcome:
        token = command.token
        if not token.accessor:
            return Rejected(index, "Invalid Token: no AccessorID is set")
        stored = self.tokens.get(token.accessor.lower())
        secret = token.secret or (stored.secret if stored else "")
        if not secret:
            return Rejected(index, "Invalid Token: no SecretID is set")
        token = replace(token, secret=secret, secret_hash=d.secret_hash(secret))
        holders = self.tokens.group("secret", token.secret_hash)
        if any(holder.accessor.lower() != token.accessor.lower() for holder in holders):
            return Rejected(index, "Invalid Token: SecretID is already in use")
        return Applied(index, self.tokens.put(index, token, cas=command.cas))

    def _bootstrap(self, index: int, command: c.BootstrapACL) -> Outcome:
        done = self.facts.get(_BOOTSTRAP)
        if done is not None and command.reset_index != done.modify_index:
            return Rejected(
                index, f"ACL bootstrap no longer allowed (reset index: {done.modify_index})"
            )
        outcome = self._set_token(index, c.SetACLToken(command.token, cas=0))
        if isinstance(outcome, Rejected):
            return outcome
        if not outcome.value:
            return Rejected(index, "Invalid Token: AccessorID is already in use")
        # Anew each time, so that a reset counts once.
        self.facts.remove(index, _BOOTSTRAP)
        self.facts.put(index, d.ACLFact(name=_BOOTSTRAP))
        return Applied(index)

    def _delete_tokens(self, index: int, command: c.DeleteACLTokens) -> Outcome:
        gone = [self.tokens.remove(index, each.lower()) for each in command.accessors]
        return Applied(index, sum(map(bool, gone)))

    def _set_named(
        self, index: int, table: Table[Any], record: Any, cas: int | None, what: str
    ) -> Outcome:
        if not record.id or not record.name:
            return Rejected(index, f"{what.partition(':')[0]}: no Name is set")
        if any(holder.id != record.id for holder in table.group("name", record.name)):
            return Rejected(index, f'{what} with Name "{record.name}" already exists')
        return Applied(index, table.put(index, record, cas=cas))

    def _set_method(self, index: int, command: c.SetACLAuthMethod) -> Outcome:
        if not command.method.name:
            return Rejected(index, "Invalid Auth Method: no Name is set")
        return Applied(index, self.methods.put(index, command.method, cas=command.cas))

    def _delete_method(self, index: int, command: c.DeleteACLAuthMethod) -> Outcome:
        for rule in self.rules.group("auth-method", command.name):
            self.rules.remove(index, rule.id)
        for token in self.tokens.group("auth-method", command.name):
            self.tokens.remove(index, token.accessor.lower())
        return _deleted(index, self.methods, command.name)

    def _set_rule(self, index: int, command: c.SetACLBindingRule) -> Outcome:
        rule = command.rule
        if not rule.id or self.methods.get(rule.auth_method) is None:
            return Rejected(index, f'cannot find auth method with name "{rule.auth_method}"')
        return Applied(index, self.rules.put(index, rule, cas=command.cas))

    def _set_query(self, index: int, command: c.SetPreparedQuery) -> Outcome:
        query = command.query
        if not query.id:
            return Rejected(index, "a prepared query has an id")
        named = self._called(query.name) if query.name or query.template else None
        if named is not None and named.id != query.id:
            if not query.name:
                return Rejected(index, "a query template with an empty name already exists")
            return Rejected(index, f"name '{query.name}' aliases an existing query name")
        # Otherwise somebody could take over what others ask for by its id.
        if self.queries.get(query.name.lower()) is not None:
            return Rejected(index, f"name '{query.name}' aliases an existing query ID")
        problem = self._session_problem(query.session) if query.session else ""
        if problem:
            return Rejected(index, problem)
        return Applied(index, self.queries.put(index, query, cas=command.cas))

    def end_session(self, index: int, session: str) -> None:
        """Delete the prepared queries that were bound to a session: it has ended."""
        for query in self.queries.group("session", session):
            self.queries.remove(index, query.id)

    def _update_coordinates(self, index: int, command: c.UpdateCoordinates) -> Outcome:
        known = [update for update in command.updates if self._has_node(update.node.lower())]
        for update in known:
            self.coordinates.put(index, update)
        return Applied(index, len(known))

    def node_removed(self, index: int, node: str) -> None:
        """Forget where a node was; ``node`` is its name in lower case."""
        for coordinate in self.coordinates.group("node", node):
            self.coordinates.remove(index, f"{coordinate.segment}/{node}")

    # Questions

    def readers(self) -> dict[type, Read]:
        """How each query is answered."""
        return {
            q.GetACLToken: lambda x: self.tokens.get(x.accessor.lower()),
            q.ACLTokenBySecret: lambda x: _only(self.tokens, "secret", x.secret_hash),
            q.ListACLTokens: lambda _: self.tokens.all(),
            q.ExpiringACLTokens: lambda x: self.tokens.due(x.until, x.limit),
            q.GetACLPolicy: lambda x: _by_id_or_name(self.policies, x),
            q.ListACLPolicies: lambda _: self.policies.all(),
            q.GetACLRole: lambda x: _by_id_or_name(self.roles, x),
            q.ListACLRoles: lambda _: self.roles.all(),
            q.GetACLAuthMethod: lambda x: self.methods.get(x.name),
            q.ListACLAuthMethods: lambda _: self.methods.all(),
            q.GetACLBindingRule: lambda x: self.rules.get(x.id),
            q.ListACLBindingRules: lambda x: _listed(self.rules, "auth-method", x.auth_method),
            q.GetACLFact: lambda x: self.facts.get(x.name),
            ListRevocations: lambda _: self.revoked.all(),
            q.GetPreparedQuery: lambda x: self.queries.get(x.id),
            q.FindPreparedQuery: lambda x: self._find_query(x.name),
            q.ListPreparedQueries: lambda x: _listed(self.queries, "session", x.session),
            dns.GetVirtualAddress: lambda x: self.virtual.get(x.service.lower()),
            dns.VirtualAddressAt: lambda x: _only(self.virtual, "address", x.address),
            dns.ListVirtualAddresses: lambda _: self.virtual.all(),
            q.ListCoordinates: lambda x: _listed(self.coordinates, "node", x.node.lower()),
            q.CoordinatesOf: lambda x: tuple(
                found for node in x.nodes for found in self.coordinates.group("node", node.lower())
            ),
        }

    def _called(self, name: str) -> d.PreparedQuery | None:
        """The query of a name, in any case; the template for all names where that is empty."""
        found: d.PreparedQuery | None
        if name:
            found = _only(self.queries, "name", name.lower())
        else:
            templates = self.queries.group("template", "yes")
            found = next((each for each in templates if not each.name), None)
        return found

    def _find_query(self, name: str) -> d.PreparedQuery | None:
        if not name:
            return None
        found = self._called(name)
        if found is not None:
            return found
        # No longer than the names that are there: a step for each character, however many those.
        for length in range(len(name) - 1, -1, -1):
            found = self._called(name[:length])
            if found is not None and found.template:
                return found
        return None

    def table_of(self, footprint: str) -> Table[Any] | None:
        """The table that a footprint's name belongs to, if it is one of these."""
        return self.tables.get(footprint.partition(":")[0])

    def index_of(self, query: Any) -> int:
        """The highest index of a query's footprint."""
        found = []
        for footprint in query.footprint():
            table = self.table_of(footprint[0])
            assert table is not None, "a query about definitions names one of their tables"
            found.append(table.index_of(footprint))
        return max(found)

    @property
    def acl_index(self) -> int:
        """The index of the last change of a token, a policy or a role."""
        return self._indexes.acl_index

    def group_rows(self) -> Iterator[list[object]]:
        """For a snapshot: the index of each group of each table."""
        return (row for table in self.tables.values() for row in table.group_rows())

    def check(self) -> None:
        """Assert what only our own bug can break."""
        assert tuple(self.tables) == tuple(d.KINDS)
        for table in self.tables.values():
            table.check()
        for token in self.tokens.all():
            assert not token.secret or token.secret_hash == d.secret_hash(token.secret)
        for rule in self.rules.all():
            assert self.methods.get(rule.auth_method) is not None, "a rule has lost its method"
        for coordinate in self.coordinates.all():
            assert self._has_node(coordinate.node.lower()), "a coordinate has lost its node"


def _without_config(method: d.ACLAuthMethod) -> d.ACLAuthMethod:
    """How the journal sees a method: its configuration may hold secrets of others."""
    content = method.content
    if not isinstance(content, dict) or not content.get("Config"):
        return method
    return replace(method, content={**content, "Config": "<hidden>"})


def _of(value: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    """A group for records that have the value, none for those where it is empty."""
    return lambda record: (value(record),) if value(record) else ()


def _deleted(index: int, table: Table[Any], key: str) -> Outcome:
    table.remove(index, key)
    return Applied(index, True)


def _listed(table: Table[Any], kind: str, value: str) -> tuple[Any, ...]:
    return table.group(kind, value) if value else table.all()


def _only(table: Table[Any], kind: str, value: str) -> Any:
    return next(iter(table.group(kind, value)), None)


def _by_id_or_name(table: Table[Any], query: Any) -> Any:
    return _only(table, "name", query.name) if query.name else table.get(query.id)
