"""Entries of the configuration are written once, whatever order they stand in."""

from __future__ import annotations

import pytest

from agent.config.entries import bootstrap_entries
from agent.errors import ConfigError
from agent.leader.entries import ensure_entries
from raftstore.definition_commands import DeleteConfigEntry, SetConfigEntry
from raftstore.definition_queries import GetConfigEntry, ListConfigEntries
from raftstore.entries import kinds
from tests.agent.connect.cluster import StateBackend

GIVEN = [
    {"kind": "service-router", "name": "a", "routes": []},
    {"Kind": "service-splitter", "Name": "a", "Splits": [{"Weight": 100, "Service": "b"}]},
    {"Kind": "proxy-defaults", "Config": {"protocol": "http"}},
    {"Kind": "service-resolver", "Name": "b", "Redirect": {"Service": "c", "ServiceSubset": "v"}},
    {"Kind": "service-resolver", "Name": "c", "Subsets": {"v": {}}},
    {"Kind": "service-splitter", "Name": "bad", "Splits": [{"Weight": 100, "ServiceSubset": "x"}]},
]


async def test_they_are_written_where_there_are_none(caplog: pytest.LogCaptureFixture) -> None:
    backend = StateBackend()
    entries = bootstrap_entries({"config_entries.bootstrap": GIVEN})
    mine = kinds.decode({"Kind": "service-resolver", "Name": "c", "Subsets": {"v": {}, "w": {}}})
    await backend.change(SetConfigEntry(mine))
    await ensure_entries(backend, entries)
    written = (await backend.ask(ListConfigEntries(""))).value
    assert [(entry.kind, entry.name) for entry in written] == [
        ("proxy-defaults", "global"), ("service-resolver", "b"), ("service-resolver", "c"),
        ("service-router", "a"), ("service-splitter", "a"),
    ]  # fmt: skip
    kept = (await backend.ask(GetConfigEntry("service-resolver", "c"))).value
    assert kept is not None and kept.content == mine.content
    assert 'entry=service-splitter/bad reason=service "bad" does not have a subset' in caplog.text
    index = backend.index
    await ensure_entries(backend, entries[:5])
    assert backend.index == index, "nothing is proposed again"
    await backend.change(DeleteConfigEntry("service-router", "a"))
    await ensure_entries(backend, entries)
    assert (await backend.ask(GetConfigEntry("service-router", "a"))).value is not None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"Kind": "nope"}, r"config_entries.bootstrap\[0\]: invalid config entry kind: nope"),
        ({"Kind": "service-resolver"}, r"config_entries.bootstrap\[0\]: Name is required"),
    ],
    ids=["kind", "name"],
)
def test_what_is_none_stops_the_start(body: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        bootstrap_entries({"config_entries.bootstrap": [body]})
