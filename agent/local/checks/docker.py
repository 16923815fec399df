"""The docker check: a program's exit status inside a container (agent contract 1.1).

Asks the engine at ``DOCKER_HOST``. The engine cannot end a program that it has started: one that
does not end in time goes on in its container, and is only no longer listened to.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from agent.definitions import CheckDefinition
from agent.durations import format_s
from agent.local.checks import docker_words
from agent.local.checks.docker_words import DockerFailed, Frames
from agent.local.checks.output import Tail
from agent.local.checks.probe import ProbeResult
from raftstore.records import CRITICAL, PASSING, WARNING

#: The contract sets none; something has to.
TIMEOUT_DEFAULT_S = 300.0


async def probe_docker(check: CheckDefinition, output_max: int) -> ProbeResult:
    """Run ``check.args``, or its shell, in the container; ``output_max`` bytes are kept."""
    timeout_s = check.timeout_s or TIMEOUT_DEFAULT_S
    output = Tail(output_max)
    host = os.environ.get("DOCKER_HOST", "") or docker_words.HOST_DEFAULT
    try:
        async with asyncio.timeout(timeout_s), _engine(host) as engine:
            code = await _run(engine, check, output)
    except DockerFailed as error:
        return ProbeResult(CRITICAL, str(error))
    except TimeoutError:
        text = f"Timed out ({format_s(timeout_s)}) running check"
        if output.total:
            text += f"\n\n{output.noted()}"
        return ProbeResult(CRITICAL, text, timed_out=True)
    except aiohttp.ClientConnectorError:
        text = f"Cannot connect to the Docker daemon at {host}. Is the docker daemon running?"
        return ProbeResult(CRITICAL, text)
    except (aiohttp.ClientError, OSError) as error:
        return ProbeResult(CRITICAL, f"the Docker daemon at {host} did not answer: {error}")
    return ProbeResult({0: PASSING, 1: WARNING}.get(code, CRITICAL), output.noted())


@asynccontextmanager
async def _engine(host: str) -> AsyncIterator[aiohttp.ClientSession]:
    path, base = docker_words.parse_host(host)
    connector = aiohttp.UnixConnector(path) if path else aiohttp.TCPConnector()
    async with aiohttp.ClientSession(
        base, connector=connector, timeout=aiohttp.ClientTimeout(total=None)
    ) as session:
        yield session


async def _run(engine: aiohttp.ClientSession, check: CheckDefinition, output: Tail) -> int:
    container = check.docker_container_id
    args = check.args or (check.shell or os.environ.get("SHELL", "") or "/bin/sh",)
    url = f"/containers/{container}/exec"
    async with engine.post(url, json=docker_words.exec_request(args)) as answer:
        exec_id = docker_words.made(container, answer.status, await _body(answer))
    frames = Frames(output)
    async with engine.post(f"/exec/{exec_id}/start", json=docker_words.START_REQUEST) as answer:
        docker_words.started(container, answer.status)
        async for chunk in answer.content.iter_any():
            frames.feed(chunk)
    async with engine.get(f"/exec/{exec_id}/json") as answer:
        return docker_words.exit_code(container, answer.status, await _body(answer))


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await answer.content.readexactly(docker_words.ANSWER_MAX)
    except asyncio.IncompleteReadError as error:
        return error.partial
