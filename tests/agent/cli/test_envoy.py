"""Commands about other proxies: what is said, and what `connect expose` writes."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.agent.http.rig import Rig, make_config

PROGRAM = Path(sys.executable).parent / "lictor"


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    running = await Rig(make_config()).start()
    yield running
    await running.stop()


async def connect(rig: Rig, *words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *words[:2], f"-http-addr={rig.url}", *words[2:], stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_what_is_not_there_says_so(rig: Rig) -> None:
    status, out, err = await connect(rig, "connect", "envoy", "-sidecar-for=web")
    assert (status, out) == (1, "")
    assert "requires an xDS server" in err


async def test_rules_of_a_sidecar_are_planned_by_its_registration(rig: Rig) -> None:
    words = ("connect", "redirect-traffic", "-proxy-id=x", "-proxy-uid=1000", "-dry-run")
    status, _, err = await connect(rig, *words)
    assert status == 1
    assert "failed to fetch proxy service from Consul Agent" in err
    words = ("connect", "redirect-traffic", "-proxy-inbound-port=2", "-proxy-uid=3", "-dry-run")
    status, out, err = await connect(rig, *words)
    assert (status, err) == (0, "")
    assert 'meta skuid "3" return' in out
    assert "redirect to :2\n" in out


async def test_a_service_is_exposed_once_and_allowed(rig: Rig) -> None:
    words = ("connect", "expose", "-ingress-gateway=door", "-port=8080", "-service=web")
    assert await connect(rig, *words) == (
        0,
        'Successfully updated config entry for ingress service "door"\n'
        'Successfully set up intention for "door" -> "web"\n',
        "",
    )
    assert await connect(rig, *words) == (
        0,
        'Service "web" already exposed through listener with port 8080\n'
        'Intention already exists for "door" -> "web"\n',
        "",
    )
    _, out, _ = await connect(rig, "config", "read", "-kind=ingress-gateway", "-name=door")
    (listener,) = json.loads(out)["Listeners"]
    assert (listener["Port"], listener["Protocol"]) == (8080, "tcp")
    assert [service["Name"] for service in listener["Services"]] == ["web"]
    status, _, err = await connect(rig, *words[:-1], "-service=api", "-protocol=http")
    assert (status, err) == (
        1,
        'Listener on port 8080 already configured with conflicting protocol "tcp"\n',
    )


async def test_an_intention_that_denies_is_not_overruled(rig: Rig) -> None:
    assert (await connect(rig, "intention", "create", "-deny", "door", "web"))[0] == 0
    status, _, err = await connect(
        rig, "connect", "expose", "-ingress-gateway=door", "-port=8080", "-service=web"
    )
    assert status == 1
    assert err.startswith('An intention denies "door" -> "web"')


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "A service name must be given via the -service flag.\n"),
        (
            ("-service=a",),
            "An ingress gateway service must be given via the -ingress-gateway flag.\n",
        ),
        (("-service=a", "-ingress-gateway=b"), "A port must be provided via the -port flag.\n"),
    ],
    ids=["service", "gateway", "port"],
)
async def test_what_is_missing_is_told(rig: Rig, words: tuple[str, ...], text: str) -> None:
    assert await connect(rig, "connect", "expose", *words) == (1, "", text)
