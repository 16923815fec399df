"""Intentions: one entry per destination, its sources in order of precedence.

Decides which intention wins (mesh contract B.2, B.3) and how single intentions are put into and
taken out of an entry. Who may talk to whom is decided by those who read the list: proxy/authz.py
and the check and authorize endpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from raftstore.commands import Applied, DeleteIntention, Outcome, Rejected, SetIntention
from raftstore.definitions import ConfigEntry
from raftstore.entries.intentions import precedence, providers
from raftstore.entries.rules import WILDCARD
from raftstore.queries import GetIntention, ListIntentions, MatchIntentions
from raftstore.records import (
    Intention,
    IntentionSource,
    ServiceIntentions,
    ServiceName,
    same_content,
)
from raftstore.state.tables import Indexes

_NOT_FOUND = "Intention not found"
_NOT_LEGACY = (
    'cannot use legacy intention API to edit intentions with a destination of "{}" after editing '
    "them via a service-intentions config entry"
)
_TABLE = "intentions"
#: Table index of the last time that a destination lost all of its intentions.
_GONE = "intentions-gone"
_BY_DESTINATION = "intentions:destination"


def ordered(intentions: Iterable[Intention]) -> tuple[Intention, ...]:
    """Winner first; equal ones by source, then destination (mesh contract B.3)."""
    return tuple(
        sorted(intentions, key=lambda i: (-i.source.precedence, i.source.name, i.destination))
    )


def _flat(entry: ServiceIntentions) -> Iterator[Intention]:
    for source in entry.sources:
        yield Intention(
            destination=entry.name,
            source=source,
            create_index=entry.create_index,
            modify_index=entry.modify_index,
            jwt=entry.jwt,
        )


class Intentions:
    """All entries. Names are compared without case, as everywhere in the catalog."""

    __slots__ = ("_by_legacy_id", "_entries", "_indexes", "_layer7")

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes
        self._entries: dict[str, ServiceIntentions] = {}
        self._by_legacy_id: dict[str, str] = {}
        #: Destinations whose intentions want requests to be looked at.
        self._layer7: set[str] = set()

    def set(self, index: int, command: SetIntention) -> Outcome:
        """Put one source into its destination's entry."""
        if command.mode == "update":
            return self._update(index, command)
        entry = self._entry(command.destination)
        source = _ranked(command.source, entry.name)
        stored = _find(entry, source.name)
        if command.mode == "create" and not all(held.legacy_id for held in entry.sources):
            return Rejected(index, _NOT_LEGACY.format(entry.name))
        if stored is not None and command.mode == "create":
            return Rejected(index, _duplicate(entry, source))
        holder = self._by_legacy_id.get(source.legacy_id) if source.legacy_id else None
        if holder is not None and (stored is None or stored.legacy_id != source.legacy_id):
            return Rejected(index, f'Intention id "{source.legacy_id}" is already in use')
        if stored is None:
            sources = (*entry.sources, source)
        else:
            source = _keep_legacy(source, stored)
            sources = tuple([source if held is stored else held for held in entry.sources])
        self._store(index, replace(entry, sources=sources))
        return Applied(index)

    def _update(self, index: int, command: SetIntention) -> Outcome:
        key = self._by_legacy_id.get(command.source.legacy_id)
        if key is None:
            return Rejected(index, _NOT_FOUND)
        if key != command.destination.lower():
            return Rejected(
                index,
                "Cannot modify DestinationNS or DestinationName for an intention once it exists.",
            )
        entry = self._entries[key]
        stored = next(s for s in entry.sources if s.legacy_id == command.source.legacy_id)
        source = _keep_legacy(_ranked(command.source, entry.name), stored)
        others = tuple([held for held in entry.sources if held is not stored])
        clash = _find(replace(entry, sources=others), source.name)
        if clash is not None:
            return Rejected(index, _duplicate(entry, source))
        sources = tuple([source if held is stored else held for held in entry.sources])
        self._store(index, replace(entry, sources=sources))
        return Applied(index)

    def delete(self, index: int, command: DeleteIntention) -> Outcome:
        """Take one source out of its entry; an empty entry goes with it."""
        if command.legacy_id:
            key = self._by_legacy_id.get(command.legacy_id, "")
        else:
            key = command.destination.lower()
        entry = self._entries.get(key)
        if entry is None:
            return Applied(index, False)
        kept = tuple([s for s in entry.sources if not _is_meant(s, command)])
        if len(kept) == len(entry.sources):
            return Applied(index, False)
        self._store(index, replace(entry, sources=kept))
        return Applied(index, True)

    def _entry(self, destination: ServiceName) -> ServiceIntentions:
        entry = self._entries.get(destination.lower())
        return entry or ServiceIntentions(name=destination)

    def _store(self, index: int, entry: ServiceIntentions) -> None:
        key = entry.name.lower()
        stored = self._entries.get(key)
        # Stable: sources of one precedence stay in the order in which they came.
        sources = tuple(sorted(entry.sources, key=lambda source: -source.precedence))
        entry = replace(entry, sources=sources)
        if stored is not None and same_content(stored, entry):
            return
        for source in stored.sources if stored else ():
            self._by_legacy_id.pop(source.legacy_id, None)
        self._layer7.discard(key)
        now: ServiceIntentions | None = None
        if sources:
            created = stored.create_index if stored else index
            now = self._entries[key] = replace(entry, create_index=created, modify_index=index)
            self._link(key, entry)
        elif self._entries.pop(key, None) is not None:
            self._indexes.raise_to(_GONE, index)
        self._indexes.record((_TABLE, key, stored, now))
        self._indexes.raise_to(_TABLE, index)
        self._indexes.touch(_BY_DESTINATION, key)

    def _link(self, key: str, entry: ServiceIntentions) -> None:
        if entry.jwt is not None or any(source.permissions for source in entry.sources):
            self._layer7.add(key)
        for source in entry.sources:
            if source.legacy_id:
                self._by_legacy_id[source.legacy_id] = key

    # As config entries

    def put(self, index: int, entry: ConfigEntry) -> None:
        """Write all intentions of a destination: what stood there goes, ids and all."""
        content = entry.content
        self._store(
            index,
            ServiceIntentions(
                name=ServiceName(entry.name),
                sources=tuple(_source_of(source) for source in content["Sources"]),
                meta=entry.meta,
                jwt=content.get("JWT"),
            ),
        )

    def remove(self, index: int, name: str) -> None:
        """Delete all intentions of a destination."""
        self._store(index, ServiceIntentions(name=ServiceName(name)))

    def entry(self, name: str) -> ConfigEntry | None:
        """All intentions of a destination as one config entry."""
        found = self._entries.get(name.lower())
        return None if found is None else _as_entry(found)

    def as_entries(self) -> Iterator[ConfigEntry]:
        """Every config entry, by destination."""
        return (_as_entry(entry) for entry in self.rows())

    def needing_layer7(self) -> Iterator[str]:
        """Destinations whose intentions have permissions, or ask for tokens."""
        return iter(sorted(self._layer7))

    def naming_provider(self, provider: str) -> Iterator[str]:
        """Destinations whose intentions ask for tokens of a provider."""
        for key in sorted(self._layer7):
            entry = self._entries[key]
            named = {name.lower() for name in providers(_as_entry(entry).content)}
            if provider.lower() in named:
                yield entry.name

    def all(self) -> tuple[Intention, ...]:
        """Every intention, winner first."""
        return ordered(i for entry in self._entries.values() for i in _flat(entry))

    def match(self, by: str, names: tuple[str, ...]) -> Mapping[str, tuple[Intention, ...]]:
        """For each name what bears on it as source or as destination, winner first."""
        pick = self._of_source if by == "source" else self._of_destination
        return {name: ordered(pick(name)) for name in names}

    def _of_destination(self, name: str) -> Iterator[Intention]:
        for key in dict.fromkeys((name.lower(), WILDCARD)):
            entry = self._entries.get(key)
            if entry is not None:
                yield from _flat(entry)

    def _of_source(self, name: str) -> Iterator[Intention]:
        wanted = (name.lower(), WILDCARD)
        for entry in self._entries.values():
            for intention in _flat(entry):
                if intention.source.name.lower() in wanted:
                    yield intention

    def get(self, source: str, destination: str, legacy_id: str) -> Intention | None:
        """One intention, by id when that is set."""
        key = self._by_legacy_id.get(legacy_id, "") if legacy_id else destination.lower()
        entry = self._entries.get(key)
        for intention in _flat(entry) if entry else ():
            held = intention.source
            if held.legacy_id == legacy_id if legacy_id else held.name.lower() == source.lower():
                return intention
        return None

    def readers(self) -> dict[type, tuple[Callable[[Any], Any], Callable[[Any], int]]]:
        """For each query how to get its value and its index."""
        read: dict[type, Callable[[Any], Any]] = {
            ListIntentions: lambda _: self.all(),
            MatchIntentions: lambda x: self.match(x.by, x.names),
            GetIntention: lambda x: self.get(x.source, x.destination, x.legacy_id),
        }
        found: dict[type, tuple[Callable[[Any], Any], Callable[[Any], int]]] = {
            kind: (value, lambda _: self.index()) for kind, value in read.items()
        }
        found[MatchIntentions] = (read[MatchIntentions], self._match_index)
        return found

    def _match_index(self, query: MatchIntentions) -> int:
        """Index of the last change to what bears on these names."""
        return max(
            self.index() if table == _TABLE else self._destination_index(key)
            for table, key in query.footprint()
        )

    def _destination_index(self, key: str) -> int:
        entry = self._entries.get(key)
        return self._indexes.of(_GONE) if entry is None else entry.modify_index

    def index(self) -> int:
        """Index of the last change to any intention."""
        return self._indexes.of(_TABLE)

    def entries(self) -> Mapping[str, ServiceIntentions]:
        """The entries by destination in lower case. Not to be changed by the caller."""
        return self._entries

    def rows(self) -> Iterator[ServiceIntentions]:
        """For a snapshot, by destination; the table must not change meanwhile."""
        return (self._entries[key] for key in sorted(self._entries))

    def load(self, entry: ServiceIntentions) -> None:
        """From a snapshot."""
        self._entries[entry.name.lower()] = entry
        self._link(entry.name.lower(), entry)

    def check(self) -> None:
        """Assert what only our own bug can break."""
        ids = 0
        for key, entry in self._entries.items():
            assert key == entry.name.lower(), "an entry is misplaced"
            assert entry.sources, "an entry is empty"
            names = [source.name.lower() for source in entry.sources]
            assert len(set(names)) == len(names), "a source is defined twice"
            ranks = [source.precedence for source in entry.sources]
            assert ranks == sorted(ranks, reverse=True), "sources are out of order"
            for source in entry.sources:
                assert source.precedence == precedence(source.name, entry.name)
                if source.legacy_id:
                    assert self._by_legacy_id[source.legacy_id] == key, "an id leads elsewhere"
                    ids += 1
        assert ids == len(self._by_legacy_id), "an id leads to nothing"
        wanting = {
            key
            for key, entry in self._entries.items()
            if entry.jwt is not None or any(source.permissions for source in entry.sources)
        }
        assert wanting == self._layer7, "it is not known who wants requests to be looked at"


def _ranked(source: IntentionSource, destination: str) -> IntentionSource:
    return replace(source, precedence=precedence(source.name, destination))


def _find(entry: ServiceIntentions, name: str) -> IntentionSource | None:
    name = name.lower()
    return next((source for source in entry.sources if source.name.lower() == name), None)


def _is_meant(source: IntentionSource, command: DeleteIntention) -> bool:
    if command.legacy_id:
        return source.legacy_id == command.legacy_id
    return source.name.lower() == command.source.lower()


def _keep_legacy(source: IntentionSource, stored: IntentionSource) -> IntentionSource:
    """What a new version of an intention inherits unless it brings its own."""
    return replace(
        source,
        legacy_id=source.legacy_id or stored.legacy_id,
        legacy_meta=stored.legacy_meta if source.legacy_meta is None else source.legacy_meta,
        legacy_create_time=stored.legacy_create_time or source.legacy_create_time,
        legacy_update_time=source.legacy_update_time or stored.legacy_update_time,
    )


def _duplicate(entry: ServiceIntentions, source: IntentionSource) -> str:
    """Names the place that a second source of this name would have after sorting."""
    position = sum(1 for held in entry.sources if held.precedence >= source.precedence)
    return f'Sources[{position}] defines "{source.name}" more than once'


def _source_of(source: Mapping[str, Any]) -> IntentionSource:
    return IntentionSource(
        name=ServiceName(source["Name"]),
        action=source.get("Action", ""),
        permissions=tuple(source.get("Permissions", ())),
        precedence=source["Precedence"],
        description=source.get("Description", ""),
        type=source["Type"],
    )


def _as_entry(entry: ServiceIntentions) -> ConfigEntry:
    content: dict[str, Any] = {"Sources": [_shown_source(source) for source in entry.sources]}
    if entry.jwt is not None:
        content["JWT"] = entry.jwt
    return ConfigEntry(
        kind="service-intentions",
        name=entry.name,
        content=content,
        meta=entry.meta,
        create_index=entry.create_index,
        modify_index=entry.modify_index,
    )


def _shown_source(source: IntentionSource) -> dict[str, Any]:
    fields = {
        "Action": source.action,
        "Permissions": [dict(one) for one in source.permissions],
        "LegacyID": source.legacy_id,
        "Description": source.description,
        "LegacyMeta": dict(source.legacy_meta or {}),
        "LegacyCreateTime": source.legacy_create_time,
        "LegacyUpdateTime": source.legacy_update_time,
    }
    return {
        "Name": source.name,
        "Precedence": source.precedence,
        "Type": source.type,
        **{key: value for key, value in fields.items() if value},
    }
