"""Alias checks of other nodes follow them in a real catalog."""

from __future__ import annotations

import random

import pytest

from agent.definitions import CheckDefinition
from agent.errors import NoServers
from agent.local.checks import elsewhere as module
from agent.local.checks.elsewhere import Elsewhere
from raftstore.commands import Deregister, Register
from raftstore.records import Check, CheckId, Node, NodeId, NodeName, Service, ServiceId
from tests.agent.local.parts import NODE, Catalog, until

OTHER = Node(
    name=NodeName("Other"),
    id=NodeId("22222222-2222-2222-2222-222222222222"),
    address="10.0.0.2",
    datacenter="dc1",
)
DB = Service(node=OTHER.name, id=ServiceId("db"), name="db")


class House:
    def __init__(self) -> None:
        self.catalog = Catalog()
        # What is not there has the index 1: nothing new may have it.
        self.catalog.register(Register(node=NODE))
        self.seen: dict[str, tuple[str, str]] = {}
        self.aliases = Elsewhere(self.catalog, self.take, random.Random(1))

    def take(self, check_id: CheckId, status: str, output: str) -> None:
        self.seen[check_id] = (status, output)

    def db(self, status: str) -> None:
        check = Check(
            node=OTHER.name, id=CheckId("d"), name="D", status=status, service_id=ServiceId("db")
        )
        self.catalog.register(Register(node=OTHER, service=DB, checks=(check,)))

    def follow(self, check_id: str, service: str) -> None:
        self.aliases.put(
            CheckDefinition(
                id=CheckId(check_id), alias_node=NodeName("other"), alias_service=ServiceId(service)
            )
        )


@pytest.fixture
async def house(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_MIN_S", 0.01)
    house = House()
    yield house
    await house.aliases.close()


async def test_it_follows_the_service_through_its_life(house) -> None:
    house.follow("a", "db")
    missing = ("critical", "Service db could not be found on node other")
    await until(lambda: house.seen.get("a") == missing)
    house.db("passing")
    await until(lambda: house.seen["a"] == ("passing", "All checks passing."))
    house.db("critical")
    await until(lambda: house.seen["a"] == ("critical", 'Aliased check "D" failing: '))
    house.catalog.register(Deregister(node=OTHER.name, service_id=ServiceId("db")))
    await until(lambda: house.seen["a"] == missing)


async def test_a_node_as_a_whole_is_judged_by_its_own_checks(house) -> None:
    house.db("critical")
    house.follow("n", "")
    await until(lambda: house.seen.get("n") == ("passing", "No checks found."))
    house.catalog.register(
        Register(node=OTHER, checks=(Check(node=OTHER.name, id=CheckId("h"), status="warning"),))
    )
    await until(lambda: house.seen["n"][0] == "warning")


async def test_a_check_that_comes_later_is_judged_at_once(house) -> None:
    house.db("passing")
    house.follow("a", "db")
    await until(lambda: house.seen.get("a"))
    house.follow("b", "db")
    await until(lambda: house.seen.get("b") == ("passing", "All checks passing."))


async def test_without_servers_the_last_status_stays_and_is_mended_later(house) -> None:
    house.db("passing")
    house.follow("a", "db")
    await until(lambda: house.seen.get("a"))
    house.catalog.error = NoServers()
    house.aliases.remove(CheckId("a"))
    house.follow("a", "db")
    house.db("critical")
    assert house.seen["a"][0] == "passing"
    house.catalog.error = None
    await until(lambda: house.seen["a"][0] == "critical")


async def test_what_is_removed_is_heard_no_more(house) -> None:
    house.db("passing")
    house.follow("a", "db")
    house.follow("b", "db")
    await until(lambda: len(house.seen) == 2)
    house.aliases.remove(CheckId("a"))
    house.db("critical")
    await until(lambda: house.seen["b"][0] == "critical")
    assert house.seen["a"][0] == "passing"
    house.aliases.remove(CheckId("b"))
    assert not house.aliases._tasks
