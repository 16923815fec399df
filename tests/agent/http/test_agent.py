"""`/v1/agent/`: the agent itself."""

from __future__ import annotations

import pytest

from agent.config.schema import AgentConfig
from tests.agent.http.rig import NODE_ID, Client, Rig, make_config


async def test_self_shows_who_we_are_and_no_secret() -> None:
    config = make_config(encrypt="c2VjcmV0LWtleQ==", prometheus_retention_time_s=60.0)
    rig = await Rig(config, metrics_text=lambda: "lictor_up 1\n").start()
    try:
        async with Client(rig.port) as client:
            got = await client.get("/v1/agent/self")
            shown = got.json
            assert shown["Config"]["NodeID"] == NODE_ID
            assert shown["DebugConfig"]["Encrypt"] == "hidden"
            assert "c2VjcmV0" not in got.text
            assert shown["Member"]["Status"] == 1
            metrics = await client.get("/v1/agent/metrics?format=prometheus")
            assert metrics.text == "lictor_up 1\n"
    finally:
        await rig.stop()


async def test_prometheus_needs_a_retention_time(client: Client) -> None:
    assert (await client.get("/v1/agent/metrics?format=prometheus")).status == 415
    assert (await client.get("/v1/agent/metrics")).json["Counters"] == []


async def test_nobody_joins_our_pool_by_asking_for_the_wan(client: Client) -> None:
    got = await client.put("/v1/agent/join/127.0.0.1:1?wan=1")
    assert got.status == 500
    assert "Failed to join 127.0.0.1:1" in got.text
    (server,) = (await client.get("/v1/agent/members?wan=1")).json
    assert server["Name"] == "n1.dc1"


@pytest.mark.parametrize(
    ("server", "text"),
    [(True, "WAN Federation is disabled"), (False, "Must be a server to join WAN cluster")],
)
async def test_an_agent_outside_of_the_pool_of_servers(server: bool, text: str) -> None:
    rig = await Rig(make_config(server=server, port_serf_wan=-1)).start()
    try:
        async with Client(rig.port) as client:
            got = await client.put("/v1/agent/join/127.0.0.1:1?wan=1")
            assert (got.status, got.text) == (500, text)
            assert (await client.get("/v1/agent/members?wan=1")).json == []
            missing = await client.put("/v1/agent/force-leave/n1.dc1?wan=1")
            assert missing.text == "agent: No node found with name 'n1.dc1'"
    finally:
        await rig.stop()


async def test_a_server_is_made_left_in_both_pools(rig: Rig, client: Client) -> None:
    assert rig.wan is not None
    await client.put("/v1/agent/force-leave/n1?prune")
    assert (rig.pool.left, rig.wan.left) == ([("n1", True)], [("n1", True)])
    await client.put("/v1/agent/force-leave/n1.dc1?wan=1")
    assert rig.wan.left[-1] == ("n1.dc1", False)
    assert len(rig.pool.left) == 1


async def test_joining_nobody_is_an_error(client: Client) -> None:
    got = await client.put("/v1/agent/join/127.0.0.1:1")
    assert got.status == 500
    assert got.text.startswith("1 error occurred:\n\t* Failed to join 127.0.0.1:1")


async def test_force_leave_names_who_is_unknown(rig: Rig, client: Client) -> None:
    got = await client.put("/v1/agent/force-leave/x?prune")
    assert (got.status, got.text) == (500, "agent: No node found with name 'x'")
    assert (await client.put("/v1/agent/force-leave/n1")).status == 200
    assert rig.pool.left == [("x", True), ("n1", False)]
    own = await client.put(f"/v1/agent/force-leave/{rig.config.node_name}")
    assert own.status == 200, "there is such a node, though it does not go for that"


async def test_a_parameter_is_decoded_twice(client: Client) -> None:
    await client.put("/v1/agent/service/register", {"Name": "a/b c"})
    assert (await client.get("/v1/agent/service/a%252Fb%2520c")).json["ID"] == "a/b c"
    got = await client.get("/v1/agent/service/a%25zz")
    assert got.status == 500 and got.text.startswith("failure in unescaping path param")


async def test_leave_and_reload_run_their_hooks() -> None:
    called = []

    async def leave() -> None:
        called.append("leave")

    async def reload() -> None:
        called.append("reload")

    rig = await Rig(make_config(), leave=leave, reload=reload).start()
    try:
        async with Client(rig.port) as client:
            for what in ("reload", "leave"):
                got = await client.put(f"/v1/agent/{what}")
                assert (got.status, got.body) == (200, b"")
    finally:
        await rig.stop()
    assert called == ["reload", "leave"]
    assert isinstance(rig.config, AgentConfig)
