"""What a query says, there and back, and which are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.queries import (
    Definition,
    Failover,
    ServiceQuery,
    Target,
    Template,
    definition_of,
    problem,
    to_content,
)
from raftstore.definitions import PreparedQuery

TEXTS = st.text("ab$!é", max_size=4)
LISTS = st.none() | st.lists(TEXTS, max_size=3).map(tuple)
MAPS = st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3)
DEFINITIONS = st.builds(
    Definition,
    name=TEXTS,
    session=TEXTS,
    token=TEXTS,
    template=st.builds(Template, type=TEXTS, regexp=TEXTS, remove_empty_tags=st.booleans()),
    service=st.builds(
        ServiceQuery,
        service=TEXTS,
        failover=st.builds(
            Failover,
            nearest_n=st.integers(0, 9),
            datacenters=LISTS,
            targets=st.none()
            | st.lists(st.builds(Target, datacenter=TEXTS, peer=TEXTS), min_size=1, max_size=2).map(
                tuple
            ),
        ),
        only_passing=st.booleans(),
        ignore_check_ids=LISTS,
        near=TEXTS,
        tags=LISTS,
        node_meta=MAPS,
        service_meta=MAPS,
        connect=st.booleans(),
    ),
    dns_ttl=TEXTS,
)


def stored(query: Definition, content: object) -> PreparedQuery:
    return PreparedQuery(id="1", name=query.name, session=query.session, content=content)


@given(DEFINITIONS)
def test_what_is_kept_is_what_was_said(query: Definition) -> None:
    content = json.loads(json.dumps(to_content(query)))
    assert definition_of(stored(query, content)) == query


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["Service", "Failover", "Template", "DNS", "TTL", "Tags", "Targets"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
))  # fmt: skip
def test_any_content_can_be_read(content: object) -> None:
    query = definition_of(stored(Definition(), content))
    assert definition_of(stored(query, to_content(query))) == query


def service(**fields: object) -> Definition:
    return Definition(name="q", service=ServiceQuery(service="web", **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (Definition(service=ServiceQuery(service="web")), "Must be bound to a session"),
        (Definition(name="q"), "Must provide a Service name to query"),
        (
            Definition(name="q", token="<hidden>"),
            "Bad Token '<hidden>', it looks like a query definition with a redacted token was "
            "submitted",
        ),
        (service(failover=Failover(nearest_n=-1)), "Bad NearestN '-1', must be >= 0"),
        (
            service(failover=Failover(nearest_n=1, targets=(Target(datacenter="dc2"),))),
            "Targets cannot be populated with NearestN or Datacenters",
        ),
        (
            service(node_meta={"k k": "v"}),
            "Invalid filters: Couldn't load metadata pair ('k k', 'v'): "
            "Key contains invalid characters",
        ),
        (
            Definition(name="q", service=ServiceQuery(service="web"), dns_ttl="abc"),
            "Bad DNS TTL 'abc': time: invalid duration \"abc\"",
        ),
        (
            Definition(name="q", service=ServiceQuery(service="web"), dns_ttl="-1s"),
            "DNS TTL '-1000000000', must be >=0",
        ),
        (service(node_meta={"consul-version": "1"}), ""),
        (Definition(session="s", service=ServiceQuery(service="web")), ""),
    ],
    ids=["unbound", "no service", "redacted", "nearest", "targets", "meta", "ttl", "negative ttl",
         "reserved meta", "session"],
)  # fmt: skip
def test_a_query_that_cannot_be_is_refused(query: Definition, words: str) -> None:
    assert problem(query) == words


def test_the_ttl_of_dns_answers() -> None:
    assert Definition(dns_ttl="1m30s").dns_ttl_s == 90.0
    assert Definition().dns_ttl_s is None
