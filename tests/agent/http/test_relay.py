"""Requests for another datacenter: two faces with states of their own, and bytes between them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from agent.config.schema import AclConfig, AclTokens
from agent.errors import ForwardError
from agent.wan.relayed import RelayedReply, RelayedRequest
from agent.wan.ways import NoPath
from tests.agent.http.rig import Client, Rig, make_config


class BetweenRigs:
    """Carries bytes to the face of the datacenter west."""

    def __init__(self, *places: str) -> None:
        self._places = places
        self.west: Rig | None = None
        self.asked: list[RelayedRequest] = []
        self.failure: Exception | None = None

    def may_lead_to(self, datacenter: str) -> bool:
        return datacenter in self._places

    async def http(
        self, datacenter: str, request: RelayedRequest, *, timeout_s: float, repeatable: bool
    ) -> RelayedReply:
        assert repeatable is (request.method == "GET")
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        assert self.west is not None
        sent = RelayedRequest.decode(request.encode())
        answer = await self.west.server.relayed.answer(sent)
        return RelayedReply.decode(answer.encode())


@contextlib.asynccontextmanager
async def two(*, acl: AclConfig | None = None) -> AsyncIterator[tuple[BetweenRigs, Client, Client]]:
    way = BetweenRigs("west")
    more = {} if acl is None else {"acl": acl}
    east = await Rig(make_config(datacenter="east", **more), way=way).start()
    if acl is not None:
        # There the agent's own token may do everything, so that it must not stand in for nobody's.
        more = {"acl": replace(acl, tokens=replace(acl.tokens, default="root"))}
    west = await Rig(make_config(datacenter="west", **more), way=BetweenRigs("north")).start()
    way.west = west
    try:
        async with Client(east.port) as here, Client(west.port) as there:
            yield way, here, there
    finally:
        await east.stop()
        await west.stop()


async def test_what_is_written_there_is_there_and_not_here() -> None:
    async with two() as (way, here, there):
        assert (await here.ask("PUT", "/v1/kv/a%2Fb?dc=west&flags=3", b"value")).json is True
        found = (await there.get("/v1/kv/a/b")).json[0]
        assert (found["Key"], found["Flags"]) == ("a/b", 3)
        assert (await here.get("/v1/kv/a/b")).status == 404
        read = await here.get("/v1/kv/a/b?dc=WEST&raw")
        assert read.body == b"value"
        index = (await there.get("/v1/kv/a/b")).headers["x-consul-index"]
        assert read.headers["x-consul-index"] == index
        assert (await here.get("/v1/kv/none?dc=west")).status == 404
        assert len(way.asked) == 3


async def test_bodies_errors_and_lists_come_back_as_they_are_there() -> None:
    async with two() as (_, here, there):
        node = {"Node": "far", "Address": "10.2.0.1", "Service": {"Service": "web", "Port": 80}}
        assert (await here.put("/v1/catalog/register?dc=west", node)).json is True
        for path in ("/v1/catalog/nodes", "/v1/health/service/web", "/v1/catalog/service/web"):
            assert (await here.get(f"{path}?dc=west")).json == (await there.get(path)).json
        bad = await here.put("/v1/catalog/register?dc=west", {"Node": ""})
        assert bad.text == (await there.put("/v1/catalog/register", {"Node": ""})).text
        assert bad.status in {400, 500}


async def test_what_concerns_one_agent_stays_here_and_unknown_places_have_no_path() -> None:
    async with two() as (way, here, _):
        assert (await here.get("/v1/agent/self?dc=west")).json["Config"]["Datacenter"] == "east"
        assert (await here.get("/v1/catalog/datacenters?dc=west")).json == ["east"]
        assert way.asked == []
        for place in ("nowhere", "east2"):
            lost = await here.get(f"/v1/catalog/nodes?dc={place}")
            assert (lost.status, lost.text) == (500, "No path to datacenter")
        assert (await here.get("/v1/catalog/nodes?dc=east")).status == 200


async def test_a_request_goes_over_the_border_once() -> None:
    async with two() as (way, _, _):
        assert way.west is not None
        back = RelayedRequest(method="GET", target="/v1/catalog/nodes?dc=north")
        answer = await way.west.server.relayed.answer(back)
        assert (answer.status, answer.body) == (500, b"No path to datacenter")
        assert isinstance(way.west.context.way, BetweenRigs)
        assert way.west.context.way.asked == []


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/agent/self", 400),
        ("PUT", "/v1/agent/leave", 400),
        ("GET", "/v1/snapshot", 400),
        ("GET", "/v1/nothing", 404),
        ("PATCH", "/v1/kv/a", 404),
        ("GET", "/v1/kv/%zz", 400),
        ("GET", "/v1//kv/a", 404),
    ],
)
async def test_what_no_other_datacenter_may_ask(method: str, target: str, status: int) -> None:
    async with two() as (way, _, _):
        assert way.west is not None
        answer = await way.west.server.relayed.answer(RelayedRequest(method=method, target=target))
        assert answer.status == status


async def test_a_body_over_the_limit_is_refused_there_too() -> None:
    async with two() as (way, _, there):
        assert way.west is not None
        body = bytes(way.west.config.limits.kv_max_value_size + 1)
        request = RelayedRequest(method="PUT", target="/v1/kv/big", body=body)
        assert (await way.west.server.relayed.answer(request)).status == 413
        assert (await there.get("/v1/kv/big")).status == 404


async def test_a_way_that_breaks_says_whether_it_may_have_happened() -> None:
    async with two() as (way, here, _):
        way.failure = ForwardError("connection to server lost", definite=False)
        broken = await here.ask("PUT", "/v1/kv/a?dc=west", b"x")
        assert (broken.status, broken.headers["x-lictor-applied"]) == (500, "maybe")
        way.failure = NoPath()
        assert (await here.get("/v1/kv/a?dc=west")).text == "No path to datacenter"


async def test_a_token_is_carried_and_resolved_there() -> None:
    acl = AclConfig(
        enabled=True,
        default_policy="deny",
        tokens=AclTokens(initial_management="root", default="only-here"),
    )
    async with two(acl=acl) as (way, here, _):
        root = {"X-Consul-Token": "root"}
        assert (await here.ask("PUT", "/v1/kv/a?dc=west", b"x", root)).json is True
        # Nobody's token becomes this agent's here, and is as unknown there as it is.
        assert (await here.get("/v1/kv/a?dc=west")).status == 403
        assert way.asked[-1].secret == "only-here"
        denied = RelayedRequest(method="GET", target="/v1/kv/a")
        assert way.west is not None
        assert (await way.west.server.relayed.answer(denied)).status == 403


async def test_a_body_may_name_the_datacenter() -> None:
    async with two() as (way, here, there):
        node = {"Node": "far", "Address": "10.2.0.1", "Datacenter": "West"}
        assert (await here.put("/v1/catalog/register", node)).json is True
        assert (await there.get("/v1/catalog/node/far")).json["Node"]["Address"] == "10.2.0.1"
        assert (await here.get("/v1/catalog/node/far")).json is None
        gone = {"Node": "far", "datacenter": "west"}
        assert (await here.put("/v1/catalog/deregister", gone)).json is True
        assert (await there.get("/v1/catalog/node/far")).json is None
        torn = await here.put("/v1/catalog/deregister?dc=east", gone)
        assert (torn.status, torn.body) == (500, b"No path to datacenter")
        asked = len(way.asked)
        lost = await here.put("/v1/catalog/register", node | {"Datacenter": "north"})
        assert (lost.status, lost.body) == (500, b"No path to datacenter")
        broken = await here.ask("PUT", "/v1/catalog/register?dc=west", b'{"Datacenter": "west",')
        assert broken.status == 400
        assert len(way.asked) == asked + 1


async def test_an_answer_that_is_too_long_is_refused_in_words() -> None:
    async with two() as (way, here, there):
        assert way.west is not None
        way.west.server.relayed._bytes_max = 100
        await there.ask("PUT", "/v1/kv/a", b"x" * 200)
        found = await here.get("/v1/kv/a?dc=west&raw")
        assert found.status == 500
        assert b"too long to be sent to another datacenter (limit 100)" in found.body
