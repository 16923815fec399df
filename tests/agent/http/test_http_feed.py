"""`/v1/agent/connect/feed/` over HTTP."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from agent.connect.feeds import Feeds
from agent.http.parse_config import subset_filter
from agent.http.server import HttpServer
from raftstore.records import ExposePath, Proxy, Service, ServiceId, Upstream
from tests.agent.http.rig import Client, Rig, make_config


class Host:
    """One registered sidecar."""

    def services(self) -> dict[ServiceId, Service]:
        upstreams = (Upstream(destination_name="api", local_bind_port=9000),
                     Upstream(destination_type="prepared_query", destination_name="q",
                              local_bind_port=9001))  # fmt: skip
        proxy = Proxy(destination_service_name="web", upstreams=upstreams)
        service = Service(
            id=ServiceId("web-proxy"), name="web-proxy", kind="connect-proxy", port=1, proxy=proxy
        )
        return {service.id: service}

    def exposed_paths(self, proxy_id: ServiceId) -> tuple[ExposePath, ...]:
        return (ExposePath(path="/ok", listener_port=21500, local_path_port=80, protocol="http"),)

    def watch_once(self, callback: Any) -> Any:
        return lambda: None


@pytest.fixture
async def fed(monkeypatch: pytest.MonkeyPatch):
    rig = Rig(make_config())
    feeds = Feeds(
        rig.backend,
        datacenter="dc1",
        leaves=rig.context.leaves,
        local=Host(),
        make_filter=subset_filter,
        rng=random.Random(1),
    )
    rig.context = replace(rig.context, feeds=feeds)
    rig.server = HttpServer(rig.context)
    await rig.start()
    try:
        async with Client(rig.port) as client:
            yield client
    finally:
        await feeds.close()
        await rig.stop()


async def test_a_proxy_is_told_answers_and_is_seen(fed: Client) -> None:
    path = "/v1/agent/connect/feed/web-proxy"
    version, held = "", {}
    while True:
        got = (await fed.get(f"{path}?version={version}&wait=5s")).json
        held |= {one["Name"]: one["Value"] for one in got["Resources"]}
        version = got["Version"]
        if got["Complete"]:
            break
    assert held["proxy"]["DestinationServiceName"] == "web"
    assert held["proxy"]["PreparedQueries"][0]["Name"] == "q"
    assert held["proxy"]["Expose"] == {
        "Checks": False,
        "Paths": [
            {
                "Path": "/ok",
                "ListenerPort": 21500,
                "LocalPathPort": 80,
                "Protocol": "http",
                "ParsedFromCheck": True,
            }
        ],
    }
    assert held["upstream/api"]["LocalBindPort"] == 9000
    assert held["chain/api"]["Protocol"] == "tcp" and held["endpoints/api.default.dc1"] == []
    assert held["leaf"]["Service"] == "web" and held["intentions"] == []
    loop = asyncio.get_running_loop()
    began = loop.time()
    got = (await fed.get(f"{path}?version={version}&wait=300ms")).json
    assert (got["Resources"], got["Version"]) == ([], version)
    assert 0.29 <= loop.time() - began < 20
    got = await fed.put(path, {"Version": version, "Error": "no"})
    assert got.json is True
    standing = (await fed.get("/v1/agent/connect/feeds")).json["web-proxy"]
    assert (standing["Rejected"], standing["Reason"]) == (version, "no")
    assert (await fed.put(path, {"Version": "x.1"})).status == 404
    assert (await fed.put(path, {"Nope": 1})).status == 400
    assert (await fed.get("/v1/agent/connect/feed/nobody")).status == 404


async def test_an_agent_without_feeds_says_so(client: Client) -> None:
    assert (await client.get("/v1/agent/connect/feed/x")).status == 404


async def test_what_a_sidecar_counts_is_had_through_the_agent(fed: Client) -> None:
    async def sidecar(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        body = b"[]" if first == b"/edges" else b"lictor_proxy_x 1\n"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(sidecar, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path = "/v1/agent/connect/feed/web-proxy"
    version = (await fed.get(path)).json["Version"]
    metrics, edges = (f"/v1/agent/connect/proxy-{each}/web-proxy" for each in ("metrics", "edges"))
    assert (await fed.get(metrics)).status == 503
    assert (await fed.put(path, {"Version": version, "AdminPort": port})).json is True
    assert (await fed.get(metrics)).body == b"lictor_proxy_x 1\n"
    assert (await fed.get(edges)).json == []
    assert (await fed.get("/v1/agent/connect/proxy-metrics/nobody")).status == 404
    assert (await fed.put(path, {"Version": version, "AdminPort": -1})).status == 400
    server.close()
    await server.wait_closed()
    assert (await fed.get(metrics)).status == 503
