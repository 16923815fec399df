"""Watches of the configuration, against the HTTP API: when handlers run, and with what."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.config.schema import AgentConfig
from agent.local.node import own_api
from agent.local.watches import OUTPUT_MAX, Watches
from agent.watches.plan import Watch, parse_watch
from raftstore.commands import KVSet
from tests.agent.http.rig import Rig, make_config

WITHIN_S = 20.0


async def until(look: Callable[[], Any], what: str) -> Any:
    async with asyncio.timeout(WITHIN_S):
        while not (found := look()):
            await asyncio.sleep(0.01)
    assert found, what
    return found


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    running = await Rig(make_config()).start()
    await running.backend.change(KVSet(key="k", value=b"one"))
    yield running
    await running.stop()


@pytest.fixture
async def watches(rig: Rig) -> AsyncIterator[Watches]:
    made = Watches(rig.url, rng=random.Random(1))
    yield made
    await made.close()


def script(line: str, **more: Any) -> Watch:
    return parse_watch({"type": "key", "key": "k", "args": ["/bin/sh", "-c", line], **more})


async def test_a_script_runs_at_the_start_and_on_each_change(
    rig: Rig, watches: Watches, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    watches.configure([script(f"cat >> {told}; echo $CONSUL_INDEX >> {told}")])

    def lines() -> list[str]:
        return told.read_text().splitlines() if told.exists() else []

    await until(lambda: len(lines()) == 2, "told of what is there")
    assert json.loads(lines()[0])["Value"] == "b25l"
    await rig.backend.change(KVSet(key="other", value=b"x"))
    await rig.backend.change(KVSet(key="k", value=b"two"))
    await until(lambda: len(lines()) == 4, "told of the change, and of nothing else")
    assert json.loads(lines()[2])["Value"] == "dHdv"
    assert int(lines()[3]) > int(lines()[1])
    await until(lambda: watches.stats().handled == 2, "the handler has ended")


async def test_an_http_handler_is_sent_the_news(rig: Rig, watches: Watches) -> None:
    seen: list[tuple[str, dict[str, str], Any]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append((request.method, dict(request.headers), await request.json()))
        return web.Response(text="x" * 2 * OUTPUT_MAX, status=200 if len(seen) < 2 else 503)

    app = web.Application()
    app.router.add_route("*", "/take", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        config = {
            "path": f"http://u:secret@127.0.0.1:{port}/take?token=secret",
            "method": "PUT",
            "header": {"x-mine": ["a"]},
        }
        watch = {"type": "services", "handler_type": "http", "http_handler_config": config}
        watches.configure([parse_watch(watch)])
        await until(lambda: watches.stats().handled, "told")
        method, headers, body = seen[0]
        assert (method, headers["x-mine"]) == ("PUT", "a")
        assert int(headers["X-Consul-Index"]) > 0
        assert isinstance(body, dict)
        (shown,) = watches.explain()  # type: ignore[union-attr, misc]
        assert len(shown["LastOutcome"]) == OUTPUT_MAX  # type: ignore[index, call-overload]
        assert "secret" not in str(shown)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("line", "outcome"), [("echo no; exit 3", "exit status 3: no\n"), ("kill -9 $$", "signal 9: ")]
)
async def test_a_handler_that_fails_is_told_and_the_watch_goes_on(
    rig: Rig, watches: Watches, line: str, outcome: str
) -> None:
    watches.configure([script(line)])
    await until(lambda: watches.stats().handlers_failed == 1, "it has failed")
    (shown,) = watches.explain()  # type: ignore[union-attr, misc]
    assert shown["LastOutcome"] == outcome  # type: ignore[index, call-overload]
    await rig.backend.change(KVSet(key="k", value=b"two"))
    await until(lambda: watches.stats().handlers_failed == 2, "it is asked again")


async def test_a_reload_keeps_what_is_the_same_and_ends_what_is_gone(
    rig: Rig, watches: Watches, tmp_path: Path
) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    first = script(f"echo x >> {same}")
    sleeper = script(f"echo $$ > {other}; sleep 300")
    watches.configure([first, sleeper])
    await until(lambda: same.exists() and other.exists() and other.read_text(), "both run")
    child = int(other.read_text())
    watches.configure([first])
    await until(lambda: not Path(f"/proc/{child}").exists(), "its script is ended")
    assert watches.stats().watches_current == 1
    await rig.backend.change(KVSet(key="k", value=b"two"))
    await until(lambda: same.read_text() == "x\nx\n", "the other goes on, and began only once")


async def test_an_agent_that_does_not_answer_is_asked_later(watches: Watches) -> None:
    nobody = Watches("http://127.0.0.1:1", rng=random.Random(1))
    try:
        nobody.configure([script("true")])
        await until(lambda: nobody.stats().failed == 1, "it failed")
        (shown,) = nobody.explain()  # type: ignore[union-attr, misc]
        assert "connect" in shown["LastError"].lower()  # type: ignore[index, call-overload, union-attr]
    finally:
        await nobody.close()


async def test_an_agent_without_an_api_says_that_there_is_nobody_to_ask() -> None:
    alone = Watches("", rng=random.Random(1))
    try:
        alone.configure([script("true")])
        await until(lambda: alone.stats().failed == 1, "it failed")
        (shown,) = alone.explain()  # type: ignore[union-attr, misc]
        assert "HTTP API is off" in shown["LastError"]  # type: ignore[index, call-overload, operator]
    finally:
        await alone.close()


async def test_an_api_on_a_local_socket_is_asked_there(tmp_path: Path) -> None:
    async def key(request: web.Request) -> web.Response:
        return web.json_response([{"Key": "k"}], headers={"X-Consul-Index": "7"})

    app = web.Application()
    app.router.add_get("/v1/kv/k", key)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "api")).start()
    told = tmp_path / "told"
    watches = Watches(f"unix://{tmp_path}/api", rng=random.Random(1))
    try:
        watches.configure([script(f"echo $CONSUL_INDEX > {told}")])
        await until(lambda: told.exists() and told.read_text() == "7\n", "told")
    finally:
        await watches.close()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("changes", "api"),
    [
        ({}, "http://127.0.0.1:8500"),
        ({"port_http": -1}, ""),
        ({"client_addrs": ("0.0.0.0",)}, "http://127.0.0.1:8500"),
        ({"addresses_http": ("unix:///x",)}, "unix:///x"),
        ({"addresses_http": ("unix:///x", "10.0.0.1")}, "http://10.0.0.1:8500"),
    ],
)
def test_where_an_agent_finds_itself(changes: dict[str, Any], api: str) -> None:
    assert own_api(AgentConfig(node_name="n", **changes)) == api
