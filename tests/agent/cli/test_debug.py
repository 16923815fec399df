"""`debug` and `monitor` as processes, against an agent whose streams are played here."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import sys
import tarfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

PROGRAM = Path(sys.executable).parent / "lictor"
WITHIN_S = 40.0


class Played:
    """An agent with a log that goes on until it is told to end."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []
        self.end = asyncio.Event()
        self.url = ""

    async def plain(self, request: web.Request) -> web.Response:
        if request.path == "/v1/explain/keyring":
            return web.Response(status=500, text="no keyring here")
        return web.json_response({"Config": {"Version": "1.2.3"}, "Path": request.path})

    async def monitor(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        if request.query["loglevel"] == "x":
            return web.Response(status=400, text="Unknown log level: x")
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"[INFO] agent: one\n")
        await self.end.wait()
        await response.write(b"[INFO] agent: two\n")
        return response


@pytest.fixture
async def played() -> AsyncIterator[Played]:
    made = Played()
    app = web.Application()
    app.router.add_get("/v1/agent/monitor", made.monitor)
    app.router.add_get("/{path:.*}", made.plain)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    made.end.set()
    await runner.cleanup()


async def start(folder: Path, *words: str) -> Process:
    return await asyncio.create_subprocess_exec(
        PROGRAM, *words, stdout=PIPE, stderr=PIPE, cwd=folder
    )


async def ended(process: Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def next_line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        return (await process.stdout.readline()).decode()


async def test_a_log_is_shown_as_it_comes_and_an_interrupt_is_no_error(
    played: Played, tmp_path: Path
) -> None:
    process = await start(tmp_path, "monitor", f"-http-addr={played.url}", "-log-json")
    assert await next_line(process) == "[INFO] agent: one\n"
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (0, "", "")
    assert played.queries == [{"loglevel": "INFO", "logjson": ""}]


async def test_a_log_that_ends_is_told(played: Played, tmp_path: Path) -> None:
    process = await start(tmp_path, "monitor", f"-http-addr={played.url}")
    await next_line(process)
    played.end.set()
    status, out, _ = await ended(process)
    assert status == 1
    assert out.startswith("[INFO] agent: two\n\nRemote side ended the monitor!")


async def test_a_level_that_is_none_is_told(played: Played, tmp_path: Path) -> None:
    process = await start(tmp_path, "monitor", f"-http-addr={played.url}", "-log-level=x")
    text = "Error starting monitor: Unexpected response code: 400 (Unknown log level: x)\n"
    assert await ended(process) == (1, "", text)


async def test_an_interrupted_capture_keeps_what_it_has(played: Played, tmp_path: Path) -> None:
    process = await start(tmp_path, "debug", f"-http-addr={played.url}", "-output=bundle")
    while "(0)" not in (line := await next_line(process)):
        assert line, "it began"
    async with asyncio.timeout(WITHIN_S):
        while not (tmp_path / "bundle" / "lictor.log").exists():
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    status, out, err = await ended(process)
    assert (status, out) == (0, "==> Saved debug archive: bundle.tar.gz\n")
    assert "==> Error capturing explain-keyring.json: Unexpected response code: 500" in err
    path = tmp_path / "bundle.tar.gz"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not (tmp_path / "bundle").exists()
    with tarfile.open(path) as archive:
        names = set(archive.getnames())
        index = json.load(archive.extractfile("bundle/index.json"))  # type: ignore[arg-type]
    assert {"bundle/agent.json", "bundle/host.json", "bundle/lictor.log"} <= names
    assert index["Missing"] == ["explain-keyring.json"]


async def test_a_folder_that_is_there_is_left_alone(played: Played, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    process = await start(tmp_path, "debug", f"-http-addr={played.url}", "-output=bundle")
    status, _, err = await ended(process)
    assert status == 1
    assert "output directory already exists: bundle" in err
