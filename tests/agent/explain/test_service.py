"""A service is explained: its instances, who made them, what keeps them back, what became of it."""

from __future__ import annotations

import pytest

from agent.errors import RequestError
from agent.explain.service import INSTANCES_MAX, explain_service
from raftstore.commands import Deregister, Register
from raftstore.records import Actor, Check, Node, Service
from tests.agent.local.parts import Catalog

CLIENT = Actor("accessor-1", "10.0.0.9:4711", "agent-7")


def register(
    catalog: Catalog, node: str, *checks: tuple[str, str], actor: Actor | None = None, **more: str
) -> None:
    catalog.apply(
        Register(
            node=Node(name=node, address=f"10.0.0.{node[1:]}"),
            service=Service(id="web", name="web", port=80),
            checks=tuple(
                Check(id=check_id, node=node, name=check_id, status=status, output="words",
                      service_id="" if check_id == "serfHealth" else "web")
                for check_id, status in checks
            ),
        ),
        actor,
    )  # fmt: skip


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


async def test_an_instance_tells_who_registered_it_and_what_keeps_it_back(catalog: Catalog) -> None:
    register(catalog, "n1", ("c", "passing"), ("serfHealth", "passing"), actor=CLIENT)
    register(catalog, "n2", ("c", "passing"))
    register(catalog, "n1", ("c", "critical"), actor=Actor("", "", "n1"))
    told = await explain_service(catalog, "WEB")
    assert (told["Instances"], told["Passing"], told["Critical"]) == (2, 1, 1)
    first, second = told["Each"]
    assert (first["Node"], first["Status"], first["InPassing"], first["InDNS"]) == (
        "n1", "critical", False, False,
    )  # fmt: skip
    assert (first["Registered"]["ThroughAgent"], first["Registered"]["FromAddress"]) == (
        "agent-7",
        "10.0.0.9:4711",
    )
    (check,) = first["KeptBackBy"]
    assert (check["CheckID"], check["Of"], check["Output"]) == ("c", "the instance", "words")
    assert check["Since"]["ThroughAgent"] == "n1"
    assert check["Since"]["Index"] > first["Registered"]["Index"]
    assert (second["Node"], second["KeptBackBy"], second["InDNS"]) == ("n2", [], True)
    assert (await explain_service(catalog, "web", node="N2"))["Instances"] == 1


async def test_a_node_keeps_its_instances_back(catalog: Catalog) -> None:
    register(catalog, "n1", ("c", "passing"), ("serfHealth", "warning"))
    (told,) = (await explain_service(catalog, "web"))["Each"]
    assert (told["Status"], told["InDNS"], told["KeptBackBy"][0]["Of"]) == (
        "warning", True, "the node",
    )  # fmt: skip
    (told,) = (await explain_service(catalog, "web", only_passing=True))["Each"]
    assert not told["InDNS"]


async def test_what_is_gone_tells_who_took_it_away(catalog: Catalog) -> None:
    register(catalog, "n1")
    catalog.apply(Register(node=Node(name="n1", address="a"), service=Service(id="x", name="webx")))
    catalog.apply(Deregister(node="n1", service_id="web"), CLIENT)
    catalog.apply(Deregister(node="n1", service_id="x"), CLIENT)
    told = await explain_service(catalog, "web")
    assert told["Instances"] == 0
    (removed,) = told["Removed"]
    assert (removed["Node"], removed["ID"], removed["Removed"]["ByAccessor"]) == (
        "n1", "web", "accessor-1",
    )  # fmt: skip
    assert (await explain_service(catalog, "never"))["Removed"] == []


async def test_the_number_that_is_told_is_bounded(catalog: Catalog) -> None:
    for number in range(INSTANCES_MAX + 3):
        register(catalog, f"n{number}", ("c", "critical" if number == 11 else "passing"))
    told = await explain_service(catalog, "web")
    assert (len(told["Each"]), told["NotShown"], told["Each"][0]["Node"]) == (20, 3, "n11")


async def test_a_name_is_needed(catalog: Catalog) -> None:
    with pytest.raises(RequestError, match="Missing service name"):
        await explain_service(catalog, "")
