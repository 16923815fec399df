"""A prepared query is explained: which one answers, and what keeps instances out."""

from __future__ import annotations

import pytest

from agent.errors import RequestError
from agent.explain.query import explain_query
from agent.queries import Definition, ServiceQuery, Template, to_content
from raftstore.commands import Register
from raftstore.definition_commands import SetPreparedQuery
from raftstore.definitions import PreparedQuery
from raftstore.records import Check, Node, Service
from tests.agent.local.parts import Catalog


@pytest.fixture
def catalog() -> Catalog:
    made = Catalog()
    for number, status in enumerate(["passing", "critical", "warning", "passing"], start=1):
        node = f"n{number}"
        made.apply(
            Register(
                node=Node(name=node, address="a", meta={"rack": str(number)}),
                service=Service(id="web", name="web", tags=("a",) if number < 4 else ()),
                checks=(Check(id="c", node=node, status=status, service_id="web"),),
            )
        )
    query = Definition(
        name="geo-",
        token="secret",
        template=Template(type="name_prefix_match"),
        service=ServiceQuery(service="${name.suffix}", tags=("a",), only_passing=True),
    )
    made.apply(
        SetPreparedQuery(
            PreparedQuery(id="q1", name="geo-", template=True, content=to_content(query))
        )
    )
    return made


async def test_a_query_says_what_it_means_for_a_name(catalog: Catalog) -> None:
    told = await explain_query(catalog, "GEO-web")
    assert (told["Query"]["Name"], told["FoundBy"]) == ("geo-", "what the name begins with")
    assert (told["Says"]["Service"]["Service"], told["Says"]["Token"]) == ("web", "<hidden>")
    assert [each["Node"] for each in told["EachGiven"]] == ["n1"]
    assert {each["Node"]: each["Because"] for each in told["EachKeptBack"]} == {
        "n2": 'check "c" is critical',
        "n3": 'check "c" is warning',
        "n4": 'tag "a" is missing',
    }
    assert "secret" not in str(told)


@pytest.mark.parametrize(("name", "status"), [("", 400), ("other", 404)])
async def test_what_is_not_there(catalog: Catalog, name: str, status: int) -> None:
    with pytest.raises(RequestError) as refused:
        await explain_query(catalog, name)
    assert refused.value.status == status
