"""The whole of a host: registered, run, kept, told to the catalog."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.acl.agent_tokens import AgentTokens
from agent.backend.acting import ACTING
from agent.config.schema import AclTokens, AgentConfig
from agent.definitions import CheckDefinition
from agent.errors import ConfigError, NoServers, RequestError
from agent.local import agent as module
from agent.local.agent import LocalAgent
from raftstore.commands import Deregister
from raftstore.definition_queries import GetConfigEntry
from raftstore.queries import History
from raftstore.records import Actor, CheckId, NodeName, ServiceId, ServiceName
from tests.agent.local.parts import HOST, NODE, Catalog, ttl, until, web

WEB = ServiceId("web")
DOWN = "dial tcp 127.0.0.1:1: connect: connection refused"
SIDECAR = web(name=ServiceName(""))


class House:
    """Makes agents on one data directory and one catalog, and stops them."""

    def __init__(self, data_dir: str) -> None:
        self.catalog = Catalog()
        self.node = NODE
        self.config = AgentConfig(node_name=HOST, data_dir=data_dir)
        self.running: list[LocalAgent] = []
        self.skew = 0.0

    async def agent(self, tokens: AgentTokens | None = None, **config) -> LocalAgent:
        agent = LocalAgent(
            replace(self.config, **config),
            self.catalog,
            node=lambda: self.node,
            tokens=tokens,
            clock=lambda: time.monotonic() + self.skew,
            unix_clock=lambda: time.time() + self.skew,
        )
        await agent.start()
        self.running.append(agent)
        return agent

    async def restart(self, **config) -> LocalAgent:
        await self.stop()
        return await self.agent(**config)

    async def stop(self) -> None:
        while self.running:
            await self.running.pop().stop()


@pytest.fixture
async def house(tmp_path):
    house = House(str(tmp_path))
    yield house
    await house.stop()


async def test_a_registered_service_is_in_the_catalog_on_return(house) -> None:
    agent = await house.agent()
    await agent.register_service(web(port=80, checks=(ttl(status="passing"),)))
    assert house.catalog.services()["web"].port == 80
    assert house.catalog.checks()["service:web"].status == "passing"
    assert agent.services()[WEB].name == "web"
    assert agent.checks()[CheckId("service:web")].type == "ttl"


async def test_a_deregistered_service_takes_checks_and_sidecar_along(house) -> None:
    agent = await house.agent()
    await agent.register_service(web(port=80, checks=(ttl(),), sidecar=SIDECAR))
    assert agent.sidecars() == ("web-sidecar-proxy",)
    assert set(house.catalog.services()) == {"web", "web-sidecar-proxy"}
    assert await agent.deregister_service(WEB)
    assert not await agent.deregister_service(WEB)
    assert not agent.services() and not agent.checks() and not agent.sidecars()
    assert house.catalog.services() == {} and house.catalog.checks() == {}


async def test_the_sidecars_alias_follows_its_parent(house) -> None:
    agent = await house.agent()
    await agent.register_service(web(port=80, checks=(ttl(),), sidecar=SIDECAR))
    alias = CheckId("service:web-sidecar-proxy:2")
    assert agent.checks()[alias].status == "critical"
    await agent.update_ttl(CheckId("service:web"), "passing", "")
    assert agent.checks()[alias].output == "All checks passing."
    await until(lambda: house.catalog.checks()[alias].status == "passing")
    await agent.update_ttl(CheckId("service:web"), "critical", "broken")
    assert agent.checks()[alias].output == ("Aliased check \"Service 'web' check\" failing: broken")


async def test_registering_again_keeps_other_checks_unless_asked(house) -> None:
    agent = await house.agent()
    await agent.register_service(web(checks=(ttl("a"), ttl("b"))))
    await agent.register_service(web(checks=(ttl("a"),)))
    assert set(agent.checks()) == {"a", "b"}
    await agent.set_service_maintenance(WEB, True)
    await agent.register_service(web(checks=(ttl("a"),)), replace_existing_checks=True)
    assert set(agent.checks()) == {"a", "_service_maintenance:web"}
    assert set(house.catalog.checks()) == {"a", "_service_maintenance:web"}


async def test_a_refused_registration_changes_nothing(house, tmp_path) -> None:
    agent = await house.agent()
    with pytest.raises(RequestError):
        await agent.register_service(web(checks=(ttl("a"), CheckDefinition(interval_s=1.0))))
    assert not agent.services() and not list((tmp_path / "services").iterdir())


async def test_a_full_disk_refuses_and_changes_nothing(house, tmp_path) -> None:
    agent = await house.agent()
    await agent.register_service(web(port=1))
    for path in (tmp_path / "checks").iterdir():
        path.rmdir()
    (tmp_path / "checks").rmdir()
    (tmp_path / "checks").write_text("no directory")
    with pytest.raises(RequestError) as refused:
        await agent.register_service(web(port=2, checks=(ttl(),)))
    assert refused.value.status == 500
    assert agent.services()[WEB].port == 1 and not agent.checks()
    (tmp_path / "checks").unlink()
    again = await house.restart()
    assert again.services()[WEB].port == 1


async def test_registrations_survive_a_restart_with_their_sidecar_port(house) -> None:
    agent = await house.agent()
    await agent.register_service(web(id=ServiceId("other"), sidecar=SIDECAR))
    await agent.register_service(web(port=80, checks=(ttl(),), sidecar=SIDECAR))
    await agent.deregister_service(ServiceId("other"))
    await agent.update_ttl(CheckId("service:web"), "passing", "note")
    await agent.set_node_maintenance(True, "work")
    port = agent.services()[ServiceId("web-sidecar-proxy")].port
    assert port == 21001
    again = await house.restart()
    assert again.services() == agent.services()
    assert again.sidecars() == ("web-sidecar-proxy",)
    assert again.checks()[CheckId("service:web")].output == "note"
    assert again.checks()[CheckId("_node_maintenance")].notes == "work"
    await again.register_service(web(port=81, sidecar=SIDECAR))
    assert again.services()[ServiceId("web-sidecar-proxy")].port == port


async def test_expired_ttl_state_does_not_count(house) -> None:
    agent = await house.agent()
    await agent.register_check(ttl("t"))
    await agent.update_ttl(CheckId("t"), "passing", "")
    await house.stop()
    house.skew += 61.0
    again = await house.agent()
    assert again.checks()[CheckId("t")].status == "critical"


async def test_the_configuration_wins_over_what_was_kept(house, tmp_path) -> None:
    agent = await house.agent()
    await agent.register_service(web(port=1))
    again = await house.restart(services=(web(port=2),))
    assert again.services()[WEB].port == 2
    assert not list((tmp_path / "services").iterdir())
    without = await house.restart()
    assert without.services() == {}
    await until(lambda: house.catalog.services() == {})


async def test_a_bad_definition_in_a_file_ends_the_start(house) -> None:
    with pytest.raises(ConfigError, match='Failed to register service "": Service name missing'):
        await house.agent(services=(web(name=ServiceName("")),))


async def test_a_reload_follows_the_files_or_changes_nothing(house) -> None:
    config = replace(house.config, services=(web(port=1), web(id=ServiceId("w2"))))
    agent = await house.agent(services=config.services)
    await agent.register_service(web(id=ServiceId("mine")))
    with pytest.raises(ConfigError):
        await agent.reload(replace(config, services=(web(address="::"),)))
    assert set(agent.services()) == {"web", "w2", "mine"}
    await agent.reload(replace(config, services=(web(port=5),), checks=(ttl("alone"),)))
    assert set(agent.services()) == {"web", "mine"}
    assert agent.services()[WEB].port == 5 and CheckId("alone") in agent.checks()
    await until(lambda: set(house.catalog.services()) == {"web", "mine"})


async def test_updates_are_for_ttl_checks_only(house) -> None:
    agent = await house.agent()
    await agent.register_check(CheckDefinition(name="tcp", tcp="127.0.0.1:1", interval_s=60.0))
    for check_id in ("tcp", "nope"):
        with pytest.raises(RequestError) as refused:
            await agent.update_ttl(CheckId(check_id), "passing", "")
        assert refused.value.status == 500
        assert refused.value.text == f'CheckID "{check_id}" does not have associated TTL'


async def test_long_ttl_output_is_cut(house) -> None:
    agent = await house.agent()
    await agent.register_check(ttl("t"))
    await agent.update_ttl(CheckId("t"), "passing", "x" * 5000)
    output = agent.checks()[CheckId("t")].output
    assert output == "x" * 4096 + " ... (captured 4096 of 5000 bytes)"


async def test_an_expired_ttl_quotes_its_last_note(house) -> None:
    agent = await house.agent()
    await agent.register_check(ttl("t", ttl_s=1.0))
    await agent.update_ttl(CheckId("t"), "passing", "fine")
    check = await until(lambda: (c := agent.checks()[CheckId("t")]).status == "critical" and c)
    assert check.output == "TTL expired (last output before timeout follows): fine"
    story = agent.explain_check(CheckId("t"))
    assert [(t["Before"], t["After"]) for t in story["Transitions"]] == [
        ("critical", "passing"),
        ("passing", "critical"),
    ]
    assert story["Transitions"][-1]["Cause"] == "TTL expired"
    assert agent.explain_check(CheckId("nope")) is None


async def test_what_happened_at_the_same_moment_is_told(house) -> None:
    agent = await house.agent()
    await agent.register_check(ttl("t", ttl_s=1.0, status="passing"))
    await agent.register_check(ttl("u", status="passing"))
    house.catalog.error = NoServers()
    await agent.update_ttl(CheckId("u"), "critical", "")
    await until(lambda: agent.checks()[CheckId("t")].status == "critical")
    await until(lambda: agent.stats().sync_failures)
    (told,) = agent.explain_check(CheckId("u"))["Transitions"]
    assert told["Meanwhile"]["OtherChecks"] == ["t: passing -> critical"]
    assert told["Meanwhile"]["Host"][0].startswith("the catalog was not told: ")


async def test_a_restart_is_no_reason_for_a_probed_check_to_be_critical(house) -> None:
    agent = await house.agent()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        check = CheckDefinition(id=CheckId("p"), name="p", tcp=target, interval_s=1.0)
        await agent.register_check(check)
        await until(lambda: house.catalog.checks()["p"].status == "passing")
    house.catalog.commands.clear()
    again = await house.restart()
    assert again.checks()[CheckId("p")].status == "passing"
    await until(lambda: again.stats().full_syncs)
    assert house.catalog.commands == []  # the catalog had nothing to learn
    await until(lambda: again.checks()[CheckId("p")].status == "critical")  # nobody listens now


async def test_a_reload_does_not_forget_what_was_seen_last(house, tmp_path) -> None:
    checks = tuple(
        CheckDefinition(id=CheckId(key), name=key, tcp="127.0.0.1:1", interval_s=1.0)
        for key in ("stays", "goes")
    )
    agent = await house.agent(checks=checks)
    await agent.register_check(ttl("asked", status="passing"))
    agent._live.set_status(CheckId("stays"), "passing", "fine", cause="test")
    for key in ("stays", "goes"):
        agent._kept.status(agent.checks()[CheckId(key)])
    states = tmp_path / "checks" / "state"
    await until(lambda: states.exists() and len(list(states.iterdir())) == 3)
    config = replace(house.config, checks=checks[:1])
    await agent.reload(config)
    await until(lambda: len(list(states.iterdir())) == 2)
    again = await house.restart(checks=checks[:1])
    assert again.checks()[CheckId("asked")].status == "passing"
    assert again.checks()[CheckId("stays")].output in {"fine", DOWN}


async def test_maintenance_keeps_its_first_reason_and_goes_quietly(house) -> None:
    agent = await house.agent()
    await agent.register_service(web())
    await agent.set_service_maintenance(WEB, True, "broken")
    await agent.set_service_maintenance(WEB, True, "again")
    assert house.catalog.checks()["_service_maintenance:web"].notes == "broken"
    await agent.set_service_maintenance(WEB, False)
    await agent.set_service_maintenance(WEB, False)
    assert house.catalog.checks() == {}
    with pytest.raises(RequestError) as refused:
        await agent.set_service_maintenance(ServiceId("nope"), True)
    assert (refused.value.status, refused.value.text) == (
        404,
        'No service registered with ID "nope"',
    )


async def test_a_leaf_that_has_ended_is_a_check_until_it_is_renewed(house) -> None:
    agent = await house.agent()
    await agent.register_service(web())
    await agent.set_leaf_health(WEB, "expired")
    await agent.set_leaf_health(WEB, "expired")
    await agent.set_leaf_health(ServiceId("nope"), "expired")
    await until(lambda: list(house.catalog.checks()) == ["connect:web"])
    assert house.catalog.checks()["connect:web"].output == "expired"
    # After a restart there is no leaf that could have ended.
    again = await house.restart()
    assert again.checks() == {}
    await until(lambda: house.catalog.checks() == {})
    await again.set_leaf_health(WEB, "expired")
    await again.set_leaf_health(WEB, "")
    await again.set_leaf_health(WEB, "")
    await until(lambda: house.catalog.checks() == {})


async def test_without_servers_everything_works_and_follows_later(house) -> None:
    house.catalog.error = NoServers()
    agent = await house.agent()
    await agent.register_service(web(port=80))
    assert agent.services()[WEB].port == 80
    house.catalog.error = None
    agent.trigger_full_sync()
    await until(lambda: "web" in house.catalog.services())


async def test_watchers_are_called_once(house) -> None:
    agent = await house.agent()
    calls: list[str] = []
    agent.watch_once(lambda: calls.append("a"))
    agent.watch_once(lambda: calls.append("b"))()  # cancelled
    await agent.register_service(web())
    await agent.register_service(web(port=9))
    assert calls == ["a"]


async def test_output_can_be_discarded(house) -> None:
    agent = await house.agent(discard_check_output=True)
    await agent.register_check(ttl("t"))
    await agent.update_ttl(CheckId("t"), "passing", "secret")
    assert agent.checks()[CheckId("t")].output == ""


async def test_a_service_critical_for_too_long_is_removed(house, monkeypatch) -> None:
    monkeypatch.setattr(module, "REAP_INTERVAL_S", 0.01)
    agent = await house.agent()
    check = ttl("t", deregister_critical_service_after_s=60.0)
    await agent.register_service(web(checks=(check,), sidecar=SIDECAR))
    assert agent.services()
    house.skew += 61.0
    await until(lambda: not agent.services())
    await until(lambda: house.catalog.services() == {})


async def test_the_counters_tell_what_runs(house) -> None:
    agent = await house.agent()
    await agent.register_service(web(checks=(ttl(),)))
    stats = agent.stats()
    assert (stats.services, stats.checks, stats.unsynced_services_current) == (1, 1, 0)
    assert stats.full_syncs + stats.partial_syncs >= 1 and stats.sync_writes >= 1


async def test_in_dev_mode_nothing_is_written(house, tmp_path) -> None:
    agent = await house.agent(dev_mode=True)
    await agent.register_service(web())
    assert not list(tmp_path.iterdir())


async def test_a_token_set_while_it_runs_asks_for_config_entries_anew(house) -> None:
    asked: set[str | None] = set()
    real = house.catalog.ask

    async def ask(query, options=None):
        if isinstance(query, GetConfigEntry):
            asked.add(ACTING.get())
        return await real(query, options)

    house.catalog.ask = ask
    tokens = AgentTokens(AclTokens())
    agent = await house.agent(tokens=tokens)
    await agent.register_service(web(port=80, sidecar=SIDECAR))
    await until(lambda: asked == {None})
    tokens.set("default", "another")
    await until(lambda: asked == {None, "another"})


async def test_a_deregistration_counts_for_a_host_that_has_another_name_since(house) -> None:
    """Renamed twice, and the catalog was never compared under the name in between."""
    somebody = Actor(address="10.0.0.9:4711", node="other")
    agent = await house.agent()
    for name in ("web", "db"):
        await agent.register_service(web(name=ServiceName(name), port=80))
    await house.stop()
    machine, gone = house.catalog.machine, Deregister(node=HOST, service_id=WEB)
    machine.apply(machine.index + 1, time.time() + 60.0, gone, actor=somebody)
    house.catalog.error = NoServers()
    house.node = replace(NODE, name=NodeName("between"))
    await house.agent()
    await house.stop()
    house.catalog.error = None
    house.node = replace(NODE, name=NodeName("renamed"))
    agent = await house.agent()
    await until(lambda: set(house.catalog.services("renamed")) == {"db"})
    assert set(agent.services()) == {"db"}
    names = Path(house.config.data_dir, "node-names")
    await until(lambda: json.loads(names.read_text()) == ["renamed"])


async def test_what_is_registered_again_unchanged_while_its_removal_is_looked_up_stays(
    house, monkeypatch
) -> None:
    """The removal is younger by the clock than both registrations, and older in truth."""
    somebody = Actor(address="10.0.0.9:4711", node="other")
    agent = await house.agent()
    check = ttl("alone", name="alone", status="passing")
    await agent.register_service(web(port=80))
    await agent.register_service(web(name=ServiceName("db")))
    await agent.register_check(check)
    machine = house.catalog.machine
    for gone in (
        Deregister(node=HOST, service_id=WEB),
        Deregister(node=HOST, service_id=ServiceId("db")),
        Deregister(node=HOST, check_id=check.id),
    ):
        machine.apply(machine.index + 1, time.time() + 60.0, gone, actor=somebody)
    asked, go_on, again = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ask = house.catalog.ask

    async def held(query, options=None):
        if isinstance(query, History):
            asked.set()
            await go_on.wait()
        return await ask(query, options)

    monkeypatch.setattr(house.catalog, "ask", held)
    agent.trigger_full_sync()
    async with asyncio.timeout(30):
        await asked.wait()
        async with asyncio.TaskGroup() as tasks:
            for registering in (agent.register_service(web(port=80)), agent.register_check(check)):
                again.clear()
                agent.watch_once(again.set)
                tasks.create_task(registering)
                await again.wait()
            go_on.set()
    await until(lambda: "db" not in agent.services())
    await until(lambda: set(house.catalog.services()) == {"web"})
    await until(lambda: "alone" in house.catalog.checks())
    assert set(agent.services()) == {"web"} and set(agent.checks()) == {"alone"}


async def test_a_check_that_was_deregistered_while_its_agent_was_down_stays_away(house) -> None:
    somebody = Actor(address="10.0.0.9:4711", node="other")
    agent = await house.agent()
    await agent.register_service(web(checks=(ttl("of-web"), ttl("stays"))))
    await agent.register_check(ttl("alone", name="alone"))
    await house.stop()
    machine = house.catalog.machine
    for name in ("of-web", "alone"):
        gone = Deregister(node=HOST, check_id=CheckId(name))
        machine.apply(machine.index + 1, time.time() + 60.0, gone, actor=somebody)
    agent = await house.agent()
    await until(lambda: set(agent.checks()) == {"stays"})
    assert set(house.catalog.checks()) == {"stays"} and set(agent.services()) == {"web"}
