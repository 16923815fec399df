"""Which source wins: against the rule written plainly, for any values."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.config.merge import merge, origins

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "node_name": st.text("ab", max_size=2),
        "server": st.booleans(),
        "retry_join": st.lists(st.text("ab", max_size=2), max_size=3).map(tuple),
        "node_meta": st.dictionaries(st.sampled_from("xyz"), st.text("ab", max_size=1)),
        "service": st.fixed_dictionaries({"name": st.text("ab", min_size=1, max_size=1)}),
        "services": st.lists(
            st.fixed_dictionaries({"name": st.text("ab", min_size=1, max_size=1)}), max_size=2
        ).map(tuple),
    },
)
SOURCES = st.lists(VALUES, max_size=4)


@given(SOURCES, VALUES, SOURCES)
def test_scalars_are_the_last_lists_add_up_and_maps_are_merged(
    files: list[dict[str, Any]], flags: dict[str, Any], fragments: list[dict[str, Any]]
) -> None:
    merged = merge(files=files, flags=flags, fragments=fragments)
    ordered = [*files, flags, *fragments]
    for key in ("node_name", "server"):
        said = [source[key] for source in ordered if key in source]
        assert merged.get(key) == (said[-1] if said else None)
    lists_in_order = [flags, *files, *fragments]
    joined = [each for source in lists_in_order for each in source.get("retry_join", ())]
    assert list(merged.get("retry_join", ())) == joined
    services = [
        each
        for source in lists_in_order
        for each in (
            *source.get("services", ()),
            *((source["service"],) if "service" in source else ()),
        )
    ]
    assert list(merged.get("services", ())) == services
    assert "service" not in merged
    meta: dict[str, str] = {}
    for source in ordered:
        meta |= source.get("node_meta", {})
    assert merged.get("node_meta", {}) == meta


@given(SOURCES, SOURCES)
def test_files_can_be_merged_in_two_steps(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    at_once = merge(files=[*first, *second], flags={})
    assert merge(files=[merge(files=first, flags={}), *second], flags={}) == at_once


@given(SOURCES)
def test_no_source_is_changed(files: list[dict[str, Any]]) -> None:
    before = [{k: dict(v) if isinstance(v, dict) else v for k, v in f.items()} for f in files]
    merge(files=files, flags={})
    assert files == before


@given(SOURCES)
def test_every_key_has_an_origin_and_the_last_one_decides(files: list[dict[str, Any]]) -> None:
    merged = merge(files=files, flags={})
    found = origins([(str(at), source) for at, source in enumerate(files)])
    assert set(found) == set(merged)
    for key in {"node_name", "server"} & set(merged):
        assert files[int(found[key][-1])][key] == merged[key]
