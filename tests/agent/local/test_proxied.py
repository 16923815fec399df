"""Checks through sidecars on a whole host: asked, shown, told to the catalog."""

from __future__ import annotations

from typing import Any

import pytest

from agent.definitions import CheckDefinition
from agent.errors import NoServers
from raftstore.definition_commands import DeleteConfigEntry, SetConfigEntry
from raftstore.entries import kinds
from raftstore.records import CheckId, Proxy, ServiceId, ServiceName
from tests.agent.local.parts import until, web
from tests.agent.local.test_agent import House

SIDECAR = ServiceId("web-sidecar-proxy")
CHECK = CheckId("alive")


@pytest.fixture
async def house(tmp_path):
    house = House(str(tmp_path))
    yield house
    await house.stop()


def looked_at(**proxy: Any) -> Any:
    alive = CheckDefinition(id=CHECK, http="http://127.0.0.1:1/alive", interval_s=3600.0)
    side = web(name=ServiceName(""), proxy=Proxy(**proxy))
    return web(port=80, checks=(alive,), sidecar=side)


def asks(agent: Any) -> str:
    return agent.explain_check(CHECK)["Rules"]["Asks"]


async def test_a_registration_exposes_its_checks_and_takes_that_back(house) -> None:
    agent = await house.agent()
    await agent.register_service(looked_at(expose_checks=True))
    assert asks(agent) == "http://127.0.0.1:21500/alive"
    assert agent.checks()[CHECK].exposed_port == 21500
    assert house.catalog.checks()[CHECK].exposed_port == 21500
    assert [path.path for path in agent.exposed_paths(SIDECAR)] == ["/alive"]
    await agent.register_service(looked_at(expose_checks=True))
    assert agent.checks()[CHECK].exposed_port == 21500
    await agent.register_service(looked_at())
    assert asks(agent) == "http://127.0.0.1:1/alive"
    assert agent.exposed_paths(SIDECAR) == ()
    assert house.catalog.checks()[CHECK].exposed_port == 0


async def test_a_config_entry_exposes_them(house) -> None:
    agent = await house.agent()
    await agent.register_service(looked_at())
    body = {"Kind": "service-defaults", "Name": "web", "Expose": {"Checks": True}}
    house.catalog.apply(SetConfigEntry(kinds.decode(body)))
    await until(lambda: house.catalog.checks()[CHECK].exposed_port == 21500)
    assert agent.merged(agent.services()[SIDECAR]).proxy.expose_checks
    assert not house.catalog.services()[SIDECAR].proxy.expose_checks
    house.catalog.apply(DeleteConfigEntry("service-defaults", "web"))
    await until(lambda: house.catalog.checks()[CHECK].exposed_port == 0)


async def test_entries_are_known_after_a_restart_without_servers(house) -> None:
    agent = await house.agent()
    body = {"Kind": "service-defaults", "Name": "web", "Expose": {"Checks": True}}
    house.catalog.apply(SetConfigEntry(kinds.decode(body)))
    await agent.register_service(looked_at())
    await until(lambda: agent.exposed_paths(SIDECAR))
    await house.stop()
    house.catalog.error = NoServers()
    agent = await house.agent()
    assert agent.exposed_paths(SIDECAR) and asks(agent).startswith("http://127.0.0.1:21500/")
    house.catalog.error = None


async def test_they_go_with_the_sidecar_and_with_the_check(house) -> None:
    agent = await house.agent()
    await agent.register_service(looked_at(expose_checks=True))
    await agent.deregister_check(CHECK)
    assert agent.exposed_paths(SIDECAR) == ()
    await agent.register_service(looked_at(expose_checks=True))
    await agent.deregister_service(SIDECAR)
    assert agent.checks()[CHECK].exposed_port == 0
    await agent.deregister_service(ServiceId("web"))
    assert not agent.services()


async def test_central_defaults_can_be_switched_off(house) -> None:
    agent = await house.agent(enable_central_service_config=False)
    body = {"Kind": "proxy-defaults", "Name": "global", "Expose": {"Checks": True}}
    house.catalog.apply(SetConfigEntry(kinds.decode(body)))
    await agent.register_service(looked_at())
    assert agent.checks()[CHECK].exposed_port == 0
    assert not agent.merged(agent.services()[SIDECAR]).proxy.expose_checks
