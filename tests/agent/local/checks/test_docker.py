"""The docker check against an engine's API on a socket of its own."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from agent.definitions import CheckDefinition
from agent.local.checks.docker import probe_docker

BUSY, GONE, PAUSED = "busy", "gone", "paused"


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


class Engine:
    """Just what an exec needs; the container's name says how it is."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.exit_code = 0
        self.printed = frame(1, b"all ") + frame(2, b"well\n")

    def routes(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/containers/{name}/exec", self.make)
        app.router.add_post("/exec/e1/start", self.start)
        app.router.add_get("/exec/e1/json", self.inspect)
        return app

    async def make(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name in {GONE, PAUSED}:
            return web.json_response({"message": "no"}, status={GONE: 404, PAUSED: 409}[name])
        self.asked.append(await request.json())
        return web.json_response({"Id": "e1"}, status=201)

    async def start(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(self.printed), 3):
            await response.write(self.printed[at : at + 3])
        if self.asked[-1]["Cmd"] == ["sleep"]:
            await asyncio.Event().wait()
        return response

    async def inspect(self, _: web.Request) -> web.Response:
        return web.json_response({"ExitCode": self.exit_code, "Running": False})


@pytest.fixture
async def engine(tmp_path, monkeypatch):
    engine = Engine()
    runner = web.AppRunner(engine.routes(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    path = str(tmp_path / "docker.sock")
    await web.UnixSite(runner, path).start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    yield engine
    await runner.cleanup()


def check(container: str = BUSY, *args: str, **fields) -> CheckDefinition:
    return CheckDefinition(
        docker_container_id=container, args=args or ("ok",), interval_s=1.0, **fields
    )


@pytest.mark.parametrize(
    ("code", "status"), [(0, "passing"), (1, "warning"), (2, "critical")], ids=str
)
async def test_the_exit_status_decides(engine, code: int, status: str) -> None:
    engine.exit_code = code
    result = await probe_docker(check(BUSY, "look", "-v"), 100)
    assert (result.status, result.output) == (status, "all well\n")
    assert engine.asked[0]["Cmd"] == ["look", "-v"]


async def test_a_shell_alone_is_run(engine) -> None:
    definition = CheckDefinition(docker_container_id=BUSY, shell="/bin/ash", interval_s=1.0)
    await probe_docker(definition, 100)
    assert engine.asked[0]["Cmd"] == ["/bin/ash"]


async def test_the_end_of_long_output_is_kept(engine) -> None:
    engine.printed = b"".join(frame(1, b"%05d" % number) for number in range(100))
    result = await probe_docker(check(), 10)
    assert result.output == "Captured 10 of 500 bytes\n...\n0009800099"


@pytest.mark.parametrize(
    ("container", "output"),
    [
        (GONE, "create exec failed for unknown container gone"),
        (PAUSED, "create exec failed since container paused is paused or stopped"),
    ],
    ids=["unknown", "paused"],
)
async def test_a_container_that_cannot_run_it_is_critical(engine, container, output) -> None:
    result = await probe_docker(check(container), 100)
    assert (result.status, result.output) == ("critical", output)


async def test_what_does_not_end_is_critical(engine) -> None:
    result = await probe_docker(check(BUSY, "sleep", timeout_s=0.3), 100)
    assert result.timed_out
    assert result.output == "Timed out (300ms) running check\n\nall well\n"


@pytest.mark.parametrize(
    ("host", "output"),
    [
        ("unix:///nowhere/docker.sock", "Cannot connect to the Docker daemon at unix:///nowhere"),
        ("ssh://x", "docker host `ssh://x`: only unix and tcp are supported"),
        ("nonsense", "unable to parse docker host `nonsense`"),
    ],
    ids=["no engine", "unknown transport", "no address"],
)
async def test_without_an_engine_it_is_critical_and_clear(host, output, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    result = await probe_docker(check(), 100)
    assert result.status == "critical" and result.output.startswith(output)
