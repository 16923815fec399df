"""`/v1/event/` beyond the recordings."""

from __future__ import annotations

import asyncio
import base64

from tests.agent.http.rig import Client, Rig


async def test_the_lists_filters_look_at_the_events_own_filters(client: Client) -> None:
    for name, query in (("a", ""), ("b", "?node=n1"), ("c", "?node=nobody"), ("b", "?node=.")):
        assert (await client.ask("PUT", f"/v1/event/fire/{name}{query}")).status == 200

    async def names(query: str) -> list[str]:
        return [each["Name"] for each in (await client.get(f"/v1/event/list{query}")).json]

    assert await names("") == ["a", "b", "b"]
    assert await names("?name=b") == ["b", "b"]
    assert await names("?name=b&node=n1") == ["b"]
    assert await names("?name=b&node=other") == []
    assert await names("?service=x") == ["a", "b", "b"]
    refused = await client.get("/v1/event/list?tag=((")
    assert (refused.status, refused.text) == (
        400,
        "Invalid tag filter: error parsing regexp: missing closing ): `((`",
    )


async def test_an_event_that_does_not_fit_is_refused_and_nobody_hears_of_it(client: Client) -> None:
    got = await client.ask("PUT", "/v1/event/fire/big", b"x" * 600)
    assert (got.status, got.text) == (
        500,
        '1 error occurred:\n\t* error broadcasting event to segment "": '
        "user event exceeds configured limit of 512 bytes before encoding\n\n",
    )
    assert (await client.get("/v1/event/list")).json == []


async def test_a_list_is_held_until_an_event_of_that_name(rig: Rig, client: Client) -> None:
    await client.ask("PUT", "/v1/event/fire/mine", b"\x00\xff")
    first = await client.get("/v1/event/list?name=mine")
    assert first.json[0]["Payload"] == base64.b64encode(b"\x00\xff").decode()
    index = first.headers["x-consul-index"]
    async with Client(rig.port) as other:
        await client.send("GET", f"/v1/event/list?name=mine&index={index}&wait=30s")
        held = asyncio.get_running_loop().create_task(client.receive())
        while not rig.events.stats().lists_waiting:
            await asyncio.sleep(0.005)
        await other.ask("PUT", "/v1/event/fire/other")
        while not rig.events.stats().lists_waiting:
            await asyncio.sleep(0.005)
        assert not held.done()
        await other.ask("PUT", "/v1/event/fire/mine")
        again = await held
    assert len(again.json) == 2
    assert again.headers["x-consul-index"] != index


async def test_another_index_is_answered_at_once_and_a_wait_ends(client: Client) -> None:
    await client.ask("PUT", "/v1/event/fire/x")
    got = await client.get("/v1/event/list?index=5&wait=30s")
    index = got.headers["x-consul-index"]
    again = await client.get(f"/v1/event/list?index={index}&wait=20ms")
    assert again.headers["x-consul-index"] == index
