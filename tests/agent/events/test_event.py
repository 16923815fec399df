"""What a user event is in gossip, and whom it concerns."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import RequestError
from agent.events.event import (
    EventError,
    UserEvent,
    decode,
    encode,
    validated,
    why_not,
)

ID = "b54fe110-7af5-cafc-d1fb-afc8ba432b1c"


@dataclass(frozen=True)
class Here:
    name: str
    tags: tuple[str, ...] | None = ()


def event(**changes: object) -> UserEvent:
    return UserEvent(**{"id": ID, "name": "deploy", **changes})  # type: ignore[arg-type]


TEXT = st.text(max_size=20)
EVENTS = st.builds(
    UserEvent,
    id=TEXT,
    name=st.text(min_size=1, max_size=20),
    payload=st.binary(max_size=40),
    node_filter=TEXT,
    service_filter=TEXT,
    tag_filter=TEXT,
    version=st.integers(0, 255),
    ltime=st.integers(0, 1 << 62),
)


def test_the_payload_is_a_map_with_the_keys_that_consuls_agents_read() -> None:
    raw = encode(event(payload=b"v1", node_filter="web", service_filter="a", tag_filter="b"))
    assert raw.hex() == (
        "87" + "a24944" + "da0024" + ID.encode().hex() + "a16e" + "a66465706c6f79"
        "a26e66" + "a3776562" + "a170" + "a27631" + "a27366" + "a161" + "a27466" + "a162" + "a17601"
    )
    assert encode(event()).hex().startswith("83")


@given(EVENTS)
def test_an_event_comes_back_as_it_was(sent: UserEvent) -> None:
    assert decode(encode(sent), sent.ltime) == sent


VALUES = st.none() | st.integers(-1, 1 << 63) | st.binary(max_size=5) | st.just([1])
KEYS = st.sampled_from([b"ID", b"n", b"p", b"nf", b"v"]) | st.binary(max_size=3)
MAPS = st.dictionaries(KEYS, VALUES, max_size=6)


@given(st.binary(max_size=60) | MAPS.map(lambda body: msgpack.packb(body, use_bin_type=False)))
def test_whatever_comes_is_an_event_or_refused(data: bytes) -> None:
    try:
        found = decode(data, 3)
    except EventError:
        return
    assert found.name and found.ltime == 3


def test_newer_keys_are_skipped_and_newer_text_forms_are_read() -> None:
    data = msgpack.packb({"n": "x", "later": [1], "p": b"\xff", "v": 9})
    assert decode(data, 1) == UserEvent(id="", name="x", payload=b"\xff", version=9, ltime=1)


@pytest.mark.parametrize(
    ("changes", "services", "reason"),
    [
        ({}, [], ""),
        ({"node_filter": "^web-"}, [], ""),
        ({"node_filter": "eb-1"}, [], ""),
        ({"node_filter": "^db"}, [], "node filter"),
        ({"service_filter": "api"}, [Here("my-api-2")], ""),
        ({"service_filter": "api"}, [Here("web")], "service filter"),
        ({"service_filter": "api"}, [], "service filter"),
        ({"service_filter": "api", "tag_filter": "v[12]"}, [Here("api", ("v2",))], ""),
        ({"service_filter": "api", "tag_filter": "v[12]"}, [Here("api", ("v3",))], "tag filter"),
        ({"service_filter": "api", "tag_filter": "v"}, [Here("web", ("v",))], "service filter"),
        ({"service_filter": "api", "tag_filter": "v"}, [Here("api", None)], "tag filter"),
        ({"service_filter": "api", "tag_filter": "v"}, [Here("api"), Here("api", ("v",))], ""),
        ({"tag_filter": "v"}, [], ""),
        ({"node_filter": "(("}, [], "broken filter"),
    ],
)
def test_filters_are_searched_in_node_services_and_their_tags(
    changes: dict[str, str], services: list[Here], reason: str
) -> None:
    assert why_not(event(**changes), "web-1", services) == reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tag_filter": "t"}, "Cannot provide tag filter without service filter"),
        (
            {"node_filter": "(("},
            "Invalid node filter: error parsing regexp: missing closing ): `((`",
        ),
        (
            {"service_filter": "*a"},
            "Invalid service filter: error parsing regexp: "
            "missing argument to repetition operator: `*`",
        ),
        (
            {"service_filter": "a", "tag_filter": "x[a"},
            "Invalid tag filter: error parsing regexp: missing closing ]: `[a`",
        ),
    ],
)
def test_what_cannot_be_fired_is_refused_in_consuls_words(
    changes: dict[str, str], words: str
) -> None:
    with pytest.raises(RequestError) as refused:
        validated(event(**changes))
    assert (refused.value.status, refused.value.text) == (500, words)


def test_the_index_is_the_ids_halves_xored() -> None:
    assert event().index == 0xB54FE1107AF5CAFC ^ 0xD1FBAFC8BA432B1C
    assert event(id="no id").index == 0
