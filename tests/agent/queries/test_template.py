"""Templates: what they make of a name, and which are refused."""

from __future__ import annotations

import re

import pytest

from agent.queries import Definition, Failover, ServiceQuery, Template, TemplateError
from agent.queries.template import compile_template


def template(regexp: str = "", *, name: str = "geo-", **service: object) -> Definition:
    service = {"service": "web"} | service
    return Definition(
        name=name,
        template=Template(type="name_prefix_match", regexp=regexp),
        service=ServiceQuery(**service),  # type: ignore[arg-type]
    )


def test_every_text_of_the_service_is_rendered() -> None:
    query = template(
        "^geo-(.+?)-([^-]+)$",
        service="${match(1)}",
        failover=Failover(nearest_n=3, datacenters=("${match(2)}",)),
        tags=("${name.suffix}", "!${name.prefix}"),
        ignore_check_ids=("c-${name.full}",),
        near="${agent.segment}",
        node_meta={"rack": "${match(2)}"},
        service_meta={"v": "${match(7)}"},
    )
    made = compile_template(query).render("geo-redis-eu", segment="seg")
    assert made.service == ServiceQuery(
        service="redis",
        failover=Failover(nearest_n=3, datacenters=("eu",)),
        tags=("redis-eu", "!geo-"),
        ignore_check_ids=("c-geo-redis-eu",),
        near="seg",
        node_meta={"rack": "eu"},
        service_meta={"v": ""},
    )
    assert (made.name, made.template) == (query.name, query.template)


def test_empty_tags_are_left_out_where_that_is_wanted() -> None:
    query = template(tags=("${match(1)}", "a"))
    assert compile_template(query).render("geo-x").service.tags == ("", "a")
    wanted = Definition(
        name="geo-",
        template=Template(type="name_prefix_match", remove_empty_tags=True),
        service=query.service,
    )
    assert compile_template(wanted).render("geo-x").service.tags == ("a",)


def test_case_does_not_matter_for_what_a_name_begins_with() -> None:
    made = compile_template(template(service="${name.suffix}")).render("GEO-Redis")
    assert made.service.service == "Redis"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            Definition(name="q", template=Template(type="nope")),
            "Bad Template.Type 'nope'",
        ),
        (template("("), "Bad Regexp: error parsing regexp: missing closing ): `(`"),
        (
            template(service="${"),
            "Bad format '${' in Service.Service: parse error at 1:3: expected expression",
        ),
        (
            template(tags=("a", "${nope}")),
            "Bad evaluation for '${nope}' in Service.Tags[1]: unknown variable accessed: nope",
        ),
        (template(tags=tuple(map(str, range(2000)))), "more than 1024 texts"),
    ],
    ids=["type", "regexp", "format", "variable", "many"],
)
def test_a_template_that_cannot_work_is_refused_when_it_is_written(
    query: Definition, words: str
) -> None:
    with pytest.raises(TemplateError, match=re.escape(words)):
        compile_template(query)
