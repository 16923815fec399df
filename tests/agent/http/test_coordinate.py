"""`/v1/coordinate/` and the order of `?near=`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.agent.http.rig import Client, Rig, make_config

PLACES = {"n1": 0.0, "far": 0.3, "near": 0.01, "middle": 0.1}


def body(node: str, x: float, **more: Any) -> dict[str, Any]:
    coordinate = {"Vec": [x] + [0.0] * 7, "Error": 1.5, "Adjustment": 0.0, "Height": 1e-5}
    return {"Node": node, "Coord": coordinate, **more}


async def placed(rig: Rig, client: Client) -> None:
    """Four nodes with an instance of `web` each, and `lost` without a coordinate."""
    for node in ("far", "lost", "near", "middle", "n1"):
        service = {"Service": "web"}
        check = {"CheckID": "c", "Status": "passing", "ServiceID": "web"}
        given = {"Node": node, "Address": "10.0.0.1", "Service": service, "Check": check}
        assert (await client.put("/v1/catalog/register", given)).json is True
    for node, x in PLACES.items():
        got = await client.put("/v1/coordinate/update", body(node, x))
        assert (got.status, got.body) == (200, b"")
    await rig.coordinates.write()


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/catalog/nodes", lambda each: each["Node"]),
        ("/v1/catalog/service/web", lambda each: each["Node"]),
        ("/v1/health/service/web", lambda each: each["Node"]["Node"]),
        ("/v1/health/checks/web", lambda each: each["Node"]),
        ("/v1/health/state/any", lambda each: each["Node"]),
    ],
)
async def test_near_sorts_and_follows_the_coordinates(
    rig: Rig, client: Client, path: str, name: Any
) -> None:
    await placed(rig, client)

    async def order(near: str) -> list[str]:
        got = await client.get(f"{path}?near={near}")
        assert got.headers["x-consul-index"] != "0"
        return [name(each) for each in got.json]

    plain = [name(each) for each in (await client.get(path)).json]
    assert await order("_agent") == ["n1", "near", "middle", "far", "lost"]
    assert await order("FAR") == ["far", "middle", "near", "n1", "lost"]
    assert await order("lost") == plain
    assert await order("nobody") == plain
    assert await order("") == plain
    # No index of the list moves with this, and the order is another one all the same.
    await client.put("/v1/coordinate/update", body("near", 0.5))
    await rig.coordinates.write()
    assert await order("n1") == ["n1", "middle", "far", "near", "lost"]


async def test_coordinates_are_listed_by_node_and_segment(rig: Rig, client: Client) -> None:
    await placed(rig, client)
    await client.put("/v1/coordinate/update", body("near", 0.2, Segment="alpha"))
    await rig.coordinates.write()
    got = await client.get("/v1/coordinate/nodes")
    assert "x-consul-effective-consistency" not in got.headers
    assert [(each["Node"], each["Segment"]) for each in got.json] == [
        ("far", ""),
        ("middle", ""),
        ("n1", ""),
        ("near", ""),
        ("near", "alpha"),
    ]
    assert got.json[0] == body("far", 0.3) | {"Segment": ""}
    alpha = (await client.get("/v1/coordinate/nodes?segment=alpha")).json
    assert [each["Node"] for each in alpha] == ["near"]
    assert len((await client.get("/v1/coordinate/node/NEAR")).json) == 2
    missing = await client.get("/v1/coordinate/node/nobody")
    assert (missing.status, missing.body) == (404, b"")
    (datacenter,) = (await client.get("/v1/coordinate/datacenters")).json
    assert (datacenter["Datacenter"], datacenter["AreaID"]) == ("dc1", "wan")
    assert [each["Node"] for each in datacenter["Coordinates"]] == ["n1"]


async def test_a_list_is_held_until_a_coordinate_changes(rig: Rig, client: Client) -> None:
    await placed(rig, client)
    index = (await client.get("/v1/coordinate/node/near")).headers["x-consul-index"]
    await client.send("GET", f"/v1/coordinate/node/near?index={index}&wait=30s")
    while not rig.server.stats().blocking_queries_held:
        await asyncio.sleep(0.005)
    async with Client(rig.port) as other:
        await other.put("/v1/coordinate/update", body("far", 1.0))
        await other.put("/v1/coordinate/update", body("near", 1.0))
    await rig.coordinates.write()
    assert (await client.receive()).json == [body("near", 1.0) | {"Segment": ""}]


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        ({"Node": "n1", "Coord": {"Vec": [0.0]}}, 500, "incompatible coordinate"),
        ({"Node": "n1"}, 500, "invalid coordinate"),
        (body("n1", 0.0, Datacenter="dc9"), 500, "No path to datacenter"),
        ({"Node": 1}, 400, "Request decode failed: json: cannot unmarshal number"),
    ],
)
async def test_a_coordinate_that_cannot_be_is_refused(
    client: Client, sent: Any, status: int, words: str
) -> None:
    got = await client.put("/v1/coordinate/update", sent)
    assert got.status == status
    assert got.text.startswith(words)


async def test_unknown_nodes_are_dropped_silently(rig: Rig, client: Client) -> None:
    assert (await client.put("/v1/coordinate/update", body("nobody", 0.0))).status == 200
    await rig.coordinates.write()
    assert (await client.get("/v1/coordinate/nodes")).json == []


async def test_all_of_it_can_be_switched_off() -> None:
    rig = await Rig(make_config(disable_coordinates=True)).start()
    try:
        async with Client(rig.port) as client:
            for path in ("datacenters", "nodes", "node/x"):
                got = await client.get(f"/v1/coordinate/{path}")
                assert (got.status, got.text) == (401, "Coordinate support disabled")
            assert (await client.put("/v1/coordinate/update", body("n1", 0.0))).status == 401
            assert (await client.get("/v1/catalog/nodes?near=_agent")).status == 200
    finally:
        await rig.stop()
