"""The explanation says of every instance whether it was given out and why not."""

import json

import pytest

from agent.config.schema import AgentConfig, DnsConfig
from agent.dns.rules import DnsView
from agent.errors import RequestError
from agent.explain.dns import Wish, explain_dns, wish_of
from raftstore.records import (
    Check,
    CheckId,
    Node,
    NodeName,
    Service,
    ServiceId,
    ServiceName,
)
from raftstore.virtual_commands import EnableVirtualAddresses
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
    catalog.define_query(
        {"Name": "q", "Service": {"Service": "web", "Tags": ["t1"], "Near": "_ip"}}
    )
    return catalog


async def told(
    name: str, qtype: str = "A", config: AgentConfig = CONFIG, **wish: object
) -> dict[str, object]:
    view = DnsView(config=config, recursors=config.dns.recursors)
    asked = Wish(name=name, qtype=qtype, **wish)  # type: ignore[arg-type]
    answer = await explain_dns(make_catalog(), view, asked)
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


async def test_a_prepared_query_says_what_it_leads_to_and_whom_it_leaves_out() -> None:
    answer = await told("q.query.consul.")
    assert answer["PreparedQuery"]["Service"] == "web"  # type: ignore[index]
    reasons = given(answer)
    assert reasons["n1"] == ""
    assert "health" in reasons["n2"]
    assert "tags" in reasons["n3"]
    assert (await told("never.query.consul."))["PreparedQueryError"] == "Query not found"


@pytest.mark.parametrize(
    ("config", "wish", "reason"),
    [
        pytest.param(DnsConfig(udp_answer_limit=1), {}, "udp_answer_limit", id="udp"),
        pytest.param(DnsConfig(a_record_limit=1), {"tcp": True}, "a_record_limit is 1", id="a"),
        pytest.param(DnsConfig(), {"payload": 4096}, "", id="nothing"),
    ],
)
async def test_what_was_cut_is_told_with_its_reason(
    config: DnsConfig, wish: dict[str, object], reason: str
) -> None:
    answer = await told(
        "web.service.consul.", config=AgentConfig(node_name="n", dns=config), **wish
    )
    reply = answer["Reply"]
    assert bool(reply["CutBecause"]) is bool(reason)  # type: ignore[index]
    assert reason in " ".join(reply["CutBecause"])  # type: ignore[index]


async def test_the_part_of_recursors_is_told() -> None:
    config = AgentConfig(node_name="n", dns=DnsConfig(recursors=("192.0.2.53",)))
    inside = (await told("www.example.", config=config))["Recursion"]
    assert inside["Recursors"] == ["192.0.2.53"]  # type: ignore[index]
    assert inside["AnswerIsTheirs"] and inside["ClientMayUseThem"]  # type: ignore[index]
    outside = (await told("www.example.", config=config, client="203.0.113.1"))["Recursion"]
    assert not outside["ClientMayUseThem"]  # type: ignore[index]


def test_a_wish_is_read_from_the_path_and_the_query() -> None:
    wish = wish_of(["web.service.consul", "SRV"], {"transport": "tcp", "payload": "1232"})
    assert wish == Wish(name="web.service.consul", qtype="SRV", tcp=True, payload=1232)
    for query in ({"transport": "x"}, {"payload": "-1"}, {"payload": "70000"}, {"client": "x"}):
        with pytest.raises(RequestError):
            wish_of(["web.service.consul"], query)


async def test_a_virtual_name_says_which_address_it_has() -> None:
    assert (await told("web.virtual.consul."))["Virtual"] is None
    catalog = make_catalog()
    catalog.apply(EnableVirtualAddresses())
    node = Node(name=NodeName("n1"), address="10.0.0.1")
    native = Service(
        node=node.name, id=ServiceId("m"), name=ServiceName("mesh"), connect_native=True
    )
    catalog.register(node, native)
    view = DnsView(config=CONFIG)
    answer = await explain_dns(catalog, view, Wish(name="mesh.virtual.consul."))
    assert answer["Virtual"] == {"Address": "240.0.0.1", "FreedAt": None}
    assert answer["Reply"]["Answer"] == ["mesh.virtual.consul. 0 IN A 240.0.0.1"]
