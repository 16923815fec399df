"""The explanation says of every instance whether it was given out and why not."""

import json

import pytest

from agent.config.schema import AgentConfig, DnsConfig
from agent.errors import RequestError
from agent.explain.dns import explain_dns
from raftstore.records import (
    Check,
    CheckId,
    Node,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
)
from tests.agent.dns.catalog import Catalog

CONFIG = AgentConfig(node_name="n")


def make_catalog() -> Catalog:
    catalog = Catalog()
    for number, status in enumerate(["passing", "critical", "warning"], 1):
        node = Node(name=NodeName(f"n{number}"), address=f"10.0.0.{number}")
        service = Service(
            node=node.name,
            id=ServiceId("web"),
            name=ServiceName("web"),
            port=80,
            tags=(f"T{number}",),
        )
        check = Check(node=node.name, id=CheckId("alive"), status=status, service_id=service.id)
        catalog.register(node, service, (check,))
    return catalog


async def told(name: str, qtype: str = "A", config: AgentConfig = CONFIG) -> dict[str, object]:
    answer = await explain_dns(make_catalog(), config, name, qtype)
    json.dumps(answer)
    return answer


def given(answer: dict[str, object]) -> dict[str, str]:
    return {i["Node"]: i["LeftOutBecause"] for i in answer["Instances"]}  # type: ignore[attr-defined]


async def test_a_critical_check_is_named() -> None:
    reasons = given(await told("web.service.consul."))
    assert reasons["n1"] == reasons["n3"] == ""
    assert "'alive' is critical" in reasons["n2"]


async def test_only_passing_is_named() -> None:
    config = AgentConfig(node_name="n", dns=DnsConfig(only_passing=True))
    reasons = given(await told("web.service.consul.", config=config))
    assert "only_passing" in reasons["n3"]


async def test_a_tag_mismatch_is_named() -> None:
    reasons = given(await told("t1.web.service.consul."))
    assert reasons["n1"] == ""
    assert "tag 't1'" in reasons["n2"]


async def test_the_reply_and_what_it_rests_on_are_shown() -> None:
    answer = await told("web.service.consul.", "SRV")
    assert answer["Reply"]["PossibleAnswers"] == 2  # type: ignore[index]
    assert answer["Facts"][0]["DependsOn"] == ["service/web"]  # type: ignore[index]
    assert answer["Facts"][0]["Index"] > 1  # type: ignore[index]


async def test_a_name_without_meaning_says_why() -> None:
    answer = await told("web.service.dc9.consul.")
    assert answer["Read"]["KnownDatacenter"] is False  # type: ignore[index]
    assert (await told("x.y.consul."))["Read"]["Reason"] == "no kind label"  # type: ignore[index]


@pytest.mark.parametrize(("name", "qtype"), [("a..b", "A"), ("a.consul", "NOTYPE")])
async def test_what_is_no_question_is_refused(name: str, qtype: str) -> None:
    with pytest.raises(RequestError):
        await told(name, qtype)
