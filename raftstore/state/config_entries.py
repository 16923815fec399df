"""Config entries in the replicated state: written only if what stands on them still does.

A write or a delete is checked where it is applied, on the state that it changes; so two writers
cannot together make what neither could alone. Intentions are entries of the kind
service-intentions, kept in their own table, which the endpoints for single intentions edit too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from raftstore import definition_commands as c
from raftstore import definition_queries as q
from raftstore import mesh_queries as m
from raftstore.commands import Applied, Outcome, Rejected, SetIntention
from raftstore.definitions import ConfigEntry
from raftstore.entries import graph, kinds
from raftstore.entries.chain import Chain, Overrides, compile_chain
from raftstore.entries.errors import GraphError, Invalid
from raftstore.queries import HealthEntry
from raftstore.state.gateways import gateway_services, ingresses_of
from raftstore.state.intentions import Intentions
from raftstore.state.table import Table
from raftstore.state.tables import Indexes

#: Table index of the last time that the last entry of a service went.
GONE = "config-entries-gone"
_TABLE = "config-entries"
#: Compiled chains that are remembered, to tell whether one has changed without compiling it.
_REMEMBERED_MAX = 4096


def key_of(kind: str, name: str) -> str:
    """Where an entry is kept: names are the same whatever their case."""
    return f"{kind}/{name.lower()}"


def make_table(indexes: Indexes) -> Table[ConfigEntry]:
    """The table of all entries but intentions."""
    return Table(
        _TABLE,
        indexes,
        key=lambda e: key_of(e.kind, e.name),
        shown=kinds.without_secrets,
        groups={
            "kind": lambda e: (e.kind,),
            "service": lambda e: (e.name.lower(),) if e.kind in graph.SERVICE_KINDS else (),
            "names": lambda e: [f"{_link(e.kind)}/{name}" for name in kinds.names_of(e)],
        },
    )


def _link(kind: str) -> str:
    return "ingress" if kind == kinds.INGRESS else "chain"


class ConfigEntries:
    """Writes entries and answers about them and about what they make."""

    def __init__(
        self,
        indexes: Indexes,
        table: Table[ConfigEntry],
        intentions: Intentions,
        *,
        trust_domain: Callable[[], tuple[str, int]],
        service_names: Callable[[], Iterable[tuple[str, bool]]],
        health: Callable[[str], Iterable[HealthEntry]],
        relinked: Callable[[int, ConfigEntry | None, ConfigEntry | None], None],
    ) -> None:
        """``trust_domain`` gives the domain and the index since when it is so; ``service_names``
        the services that a wildcard of a gateway stands for, and whether they are in the mesh;
        ``health`` the instances of a service; ``relinked`` hears of each change of what a
        terminating gateway links, as index, what was and what is."""
        self._indexes = indexes
        self._table = table
        self._intentions = intentions
        self._trust_domain = trust_domain
        self._service_names = service_names
        self._health = health
        self._relinked = relinked
        self._remembered: dict[m.DiscoveryChain, tuple[int, tuple[int, m.CompiledChain]]] = {}

    # Changes

    def appliers(self) -> dict[type, Callable[[int, Any], Outcome]]:
        """How each command is carried out."""
        return {
            c.SetConfigEntry: self._set,
            c.DeleteConfigEntry: self._delete,
            SetIntention: self._set_intention,
        }

    def _set(self, index: int, command: c.SetConfigEntry) -> Outcome:
        entry = command.entry
        if entry.kind not in kinds.KINDS:
            return Rejected(index, kinds.bad_kind(entry.kind))
        if not kinds.is_canonical(entry):
            return Rejected(index, f"this {entry.kind} entry is not in its normal form")
        if command.cas is not None and command.cas != self._modify_index(entry.kind, entry.name):
            return Applied(index, False)
        try:
            kinds.check(entry)
            self._check(entry.kind, entry.name, entry)
        except (Invalid, GraphError) as error:
            return Rejected(index, str(error))
        if entry.kind == kinds.SERVICE_INTENTIONS:
            self._intentions.put(index, entry)
        else:
            before = self.get(entry.kind, entry.name)
            self._table.put(index, entry)
            if entry.kind == kinds.TERMINATING:
                self._relinked(index, before, entry)
        return Applied(index, True)

    def _delete(self, index: int, command: c.DeleteConfigEntry) -> Outcome:
        if command.kind not in kinds.KINDS:
            return Rejected(index, kinds.bad_kind(command.kind))
        stored = self.get(command.kind, command.name)
        if stored is None:
            return Applied(index, True)
        if command.cas is not None and command.cas != stored.modify_index:
            return Applied(index, False)
        try:
            self._check(command.kind, command.name, None)
        except GraphError as error:
            return Rejected(index, str(error))
        if command.kind == kinds.SERVICE_INTENTIONS:
            self._intentions.remove(index, command.name)
            return Applied(index, True)
        self._table.remove(index, key_of(command.kind, command.name))
        if command.kind == kinds.TERMINATING:
            self._relinked(index, stored, None)
        last = command.kind in graph.SERVICE_KINDS and not self._of_service(command.name)
        if last or command.kind == kinds.PROXY_DEFAULTS:
            self._indexes.raise_to(GONE, index)
        return Applied(index, True)

    def _set_intention(self, index: int, command: SetIntention) -> Outcome:
        """A single intention: what it asks of its destination must hold as for an entry."""
        if command.source.permissions:
            shown = {"Permissions": list(command.source.permissions)}
            entry = ConfigEntry(
                kind=kinds.SERVICE_INTENTIONS,
                name=command.destination,
                content={"Sources": [shown]},
            )
            try:
                self._check(entry.kind, entry.name, entry)
            except GraphError as error:
                return Rejected(index, str(error))
        return self._intentions.set(index, command)

    def _check(self, kind: str, name: str, entry: ConfigEntry | None) -> None:
        """Refuse a change that would break something. Raises GraphError."""
        changed = _Changed(self._table, self._intentions, kind, name, entry)
        graph.check(changed, kind, name, written=entry is not None)

    def _modify_index(self, kind: str, name: str) -> int:
        stored = self.get(kind, name)
        return 0 if stored is None else stored.modify_index

    # Answers

    def get(self, kind: str, name: str) -> ConfigEntry | None:
        """One entry."""
        if kind == kinds.SERVICE_INTENTIONS:
            return self._intentions.entry(name)
        return self._table.get(key_of(kind, name))

    def list(self, kind: str) -> tuple[ConfigEntry, ...]:
        """The entries of a kind, or all of them, by kind and name."""
        found = self._table.group("kind", kind) if kind else self._table.all()
        if kind in {"", kinds.SERVICE_INTENTIONS}:
            mine = tuple(self._intentions.as_entries())
            found = tuple(sorted((*found, *mine), key=lambda e: key_of(e.kind, e.name)))
        return found

    def readers(self) -> dict[type, tuple[Callable[[Any], Any], Callable[[Any], int]]]:
        """For each query how to get its value and its index."""
        return {
            q.GetConfigEntry: (lambda x: self.get(x.kind, x.name), self._index_of),
            q.ListConfigEntries: (lambda x: self.list(x.kind), self._index_of),
            m.DiscoveryChain: (lambda x: self._chain(x)[1], lambda x: self._chain(x)[0]),
            m.PlanConfigEntry: (self._plan, lambda _: self._indexes.of(_TABLE)),
            m.GatewayServices: (
                lambda x: gateway_services(
                    self._now(), self.list, x.gateway, self._service_names()
                ),
                lambda _: max(self._indexes.of(_TABLE), self._indexes.of("service-names")),
            ),
            m.IngressHealth: (
                lambda x: tuple(
                    entry
                    for gateway in ingresses_of(self._now(), self.list, x.service)
                    for entry in self._health(gateway)
                ),
                lambda x: max(self._indexes.of(table) for table, _ in x.footprint()),
            ),
        }

    def _index_of(self, query: Any) -> int:
        return max(
            self._intentions.index()
            if table == "intentions"
            else self._table.index_of((table, key))
            for table, key in query.footprint()
        )

    def _now(self) -> _Changed:
        return _Changed(self._table, self._intentions, "", "", None)

    def _of_service(self, name: str) -> tuple[ConfigEntry, ...]:
        return self._table.group("service", name.lower())

    def _chain(self, query: m.DiscoveryChain) -> tuple[int, m.CompiledChain]:
        """The chain, and the last index at which something that it was made of changed."""
        last = max(self._indexes.of(_TABLE), self._indexes.of("ca-config"))
        known = self._remembered.get(query)
        if known is not None and known[0] == last:
            return known[1]
        found = self._compiled(query)
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[query] = (last, found)
        return found

    def _plan(self, query: m.PlanConfigEntry) -> m.ChangePlan:
        """What a write or a delete would do, by the very checks that would be made."""
        try:
            content = json.loads(query.content)
        except (ValueError, RecursionError) as error:
            return m.ChangePlan(action="", refused=f"the content is no JSON: {error}")
        entry = ConfigEntry(kind=query.kind, name=query.name, content=content)
        if not kinds.is_canonical(entry):
            return m.ChangePlan(action="", refused=kinds.bad_kind(entry.kind))
        stored = self.get(entry.kind, entry.name)
        after = None if query.delete else entry
        try:
            if after is not None:
                kinds.check(after)
            self._check(entry.kind, entry.name, after)
        except (Invalid, GraphError) as error:
            return m.ChangePlan(action="", before=stored, refused=str(error))
        now = self._now()
        later = _Changed(self._table, self._intentions, entry.kind, entry.name, after)
        changed = []
        for name in sorted(graph.affected(later, entry.kind, entry.name.lower())):
            spelled = later.spelled(name)
            compiled = [
                compile_chain(view, spelled, datacenter=query.datacenter, trust_domain="t").json()
                for view in (now, later)
            ]
            if compiled[0] != compiled[1]:
                changed.append(spelled)
        return m.ChangePlan(
            action=_action(stored, after),
            before=stored,
            chains=tuple(changed[: m.PLANNED_CHAINS_MAX]),
            chains_count=len(changed),
        )

    def forget_chains(self) -> None:
        """Compile anew when asked again; for measurements."""
        self._remembered.clear()

    def _compiled(self, query: m.DiscoveryChain) -> tuple[int, m.CompiledChain]:
        domain, since = self._trust_domain()
        try:
            chain = compile_chain(
                self._now(),
                query.service,
                datacenter=query.datacenter,
                trust_domain=domain,
                overrides=Overrides(
                    protocol=query.protocol,
                    connect_timeout_ns=query.connect_timeout_ns,
                    mesh_gateway=query.mesh_gateway,
                ),
            )
        except GraphError as error:
            return self._indexes.of(_TABLE), m.CompiledChain(None, str(error))
        return max(since, self._chain_index(chain)), m.CompiledChain(chain.json())

    def _chain_index(self, chain: Chain) -> int:
        found = [self._proxy_index()]
        for name in chain.read:
            group = self._of_service(name)
            found.append(
                self._table.index_of((f"{_TABLE}:service", name))
                if group
                else self._indexes.of(GONE)
            )
        return max(found)

    def _proxy_index(self) -> int:
        stored = self._table.get(key_of(kinds.PROXY_DEFAULTS, "global"))
        return self._indexes.of(GONE) if stored is None else stored.modify_index


def _action(stored: ConfigEntry | None, after: ConfigEntry | None) -> str:
    if after is None:
        return "delete" if stored is not None else "nothing"
    if stored is None:
        return "create"
    return "nothing" if stored.content == after.content else "update"


class _Changed:
    """The entries as they would be after one change: what ``graph`` looks at."""

    def __init__(
        self,
        table: Table[ConfigEntry],
        intentions: Intentions,
        kind: str,
        name: str,
        entry: ConfigEntry | None,
    ) -> None:
        self._table = table
        self._intentions = intentions
        self._key = key_of(kind, name)
        self._entry = entry

    def _get(self, kind: str, name: str) -> ConfigEntry | None:
        key = key_of(kind, name)
        return self._entry if key == self._key else self._table.get(key)

    def content(self, kind: str, name: str) -> Mapping[str, Any] | None:
        found = self._get(kind, name)
        return None if found is None else found.content

    def spelled(self, service: str) -> str:
        for kind in graph.SERVICE_KINDS:
            found = self._get(kind, service)
            if found is not None:
                return found.name
        return service

    def chains_naming(self, service: str) -> Iterable[str]:
        return [e.name.lower() for e in self._table.group("names", f"chain/{service}")]

    def ingresses_naming(self, service: str) -> Iterable[str]:
        return [e.name.lower() for e in self._table.group("names", f"ingress/{service}")]

    def all_of(self, kind: str) -> Iterable[str]:
        return [e.name.lower() for e in self._table.group("kind", kind)]

    def intentions(self, destination: str) -> Mapping[str, Any] | None:
        key = key_of(kinds.SERVICE_INTENTIONS, destination)
        found = self._entry if key == self._key else self._intentions.entry(destination)
        return None if found is None else {**found.content, "Name": found.name}

    def needing_layer7(self) -> Iterator[str]:
        return self._intentions.needing_layer7()

    def intentions_naming(self, provider: str) -> Iterator[str]:
        return self._intentions.naming_provider(provider)
