"""Config entries followed for the proxies of a host, over the real state machine."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.backend.acting import ACTING
from agent.errors import NoServers
from agent.local.central import CentralDefaults
from agent.local.stored import KeptEntry
from raftstore.definition_commands import DeleteConfigEntry, SetConfigEntry
from raftstore.entries import kinds
from raftstore.records import Proxy, Service, ServiceId, ServiceName
from tests.agent.local.parts import Catalog, until


def sidecar(name: str = "web") -> Service:
    return Service(
        id=ServiceId(f"{name}-proxy"),
        name=ServiceName(f"{name}-proxy"),
        kind="connect-proxy",
        proxy=Proxy(destination_service_name=name),
    )


class Host:
    def __init__(self) -> None:
        self.catalog = Catalog()
        self.changes: list[tuple[ServiceId, ...]] = []
        self.kept: list[KeptEntry] = []
        self.tokens: dict[str, str] = {}
        self.central = CentralDefaults(
            self.catalog,
            rng=random.Random(1),
            token_of=lambda service_id: self.tokens.get(service_id, ""),
            on_change=self.changes.append,
            keep=self.kept.append,
        )

    def write(self, **body: Any) -> None:
        self.catalog.apply(SetConfigEntry(kinds.decode(body)))

    def mode(self, service: Service) -> str:
        return self.central.merged(service).proxy.mode


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    made = Host()
    yield made
    await made.central.close()


async def test_entries_are_followed_while_a_proxy_is_here(host: Host) -> None:
    web = sidecar()
    host.write(Kind="proxy-defaults", Mode="direct")
    host.central.put(web)
    await until(lambda: host.mode(web) == "direct")
    host.write(Kind="service-defaults", Name="web", Mode="transparent")
    await until(lambda: host.mode(web) == "transparent")
    assert host.changes[-1] == ("web-proxy",)
    host.catalog.apply(DeleteConfigEntry("service-defaults", "web"))
    await until(lambda: host.mode(web) == "direct")
    host.central.remove(web.id)
    assert host.mode(web) == ""


async def test_two_proxies_share_a_question_and_the_last_one_ends_it(host: Host) -> None:
    host.write(Kind="proxy-defaults", Mode="direct")
    for name in ("web", "api"):
        host.central.put(sidecar(name))
    await until(lambda: host.mode(sidecar("api")) == "direct")
    host.central.remove(ServiceId("web-proxy"))
    assert host.mode(sidecar("api")) == "direct" and host.mode(sidecar()) == ""
    host.central.remove(ServiceId("api-proxy"))
    assert host.kept[-1].content is None


async def test_what_was_kept_counts_until_a_server_answers(host: Host) -> None:
    web = sidecar()
    host.catalog.error = NoServers()
    host.central.restore([KeptEntry(kind="proxy-defaults", name="global", content={"Mode": "x"})])
    host.central.put(web)
    assert host.mode(web) == "x"
    host.catalog.error = None
    host.write(Kind="proxy-defaults", Mode="direct")
    await until(lambda: host.mode(web) == "direct")
    assert [dict(one.content or {})["Mode"] for one in host.kept if one.key.startswith("p")] == [
        "direct"
    ]


async def test_what_is_kept_and_gone_is_forgotten(host: Host) -> None:
    web = sidecar()
    host.central.restore([KeptEntry(kind="proxy-defaults", name="global", content={"Mode": "x"})])
    host.write(Kind="mesh")  # so that the catalog has an index
    host.central.put(web)
    await until(lambda: host.mode(web) == "")
    assert not host.kept[-1].content


async def test_entries_do_not_count_where_that_is_switched_off(host: Host) -> None:
    host.central.switch(on=False)
    host.central.restore([KeptEntry(kind="proxy-defaults", name="global", content={"Mode": "x"})])
    host.central.put(sidecar())
    assert host.mode(sidecar()) == ""


async def test_each_proxy_asks_with_its_own_token(host: Host) -> None:
    asked: set[tuple[str, str | None]] = set()
    real = host.catalog.ask

    async def ask(query: Any, options: Any = None) -> Any:
        asked.add((query.name, ACTING.get()))
        return await real(query, options)

    host.catalog.ask = ask  # type: ignore[method-assign]
    host.tokens = {"web-proxy": "a", "api-proxy": ""}
    acting = ACTING.set("somebody else's")
    try:
        host.central.put(sidecar("web"))
        host.central.put(sidecar("api"))
        await until(lambda: len(asked) >= 4)
    finally:
        ACTING.reset(acting)
    assert asked == {("global", "a"), ("web", "a"), ("global", None), ("api", None)}


async def test_another_token_asks_anew_and_what_is_known_holds_meanwhile(host: Host) -> None:
    web = sidecar()
    host.write(Kind="proxy-defaults", Mode="direct")
    host.central.put(web)
    await until(lambda: host.mode(web) == "direct")
    host.catalog.error = NoServers()
    host.tokens["web-proxy"] = "another"
    host.central.put(web)
    assert host.mode(web) == "direct"
    assert all(token == "another" for _, token in host.central._tasks)
    host.catalog.error = None
    host.write(Kind="proxy-defaults", Mode="transparent")
    await until(lambda: host.mode(web) == "transparent")
    assert host.kept[-1].content is not None  # nothing of it was forgotten on the way
