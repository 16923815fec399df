"""Tables of counts, and services that are exported."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.cli.usage import billable_text, connect_table
from tests.agent.http.rig import Rig, make_config

PROGRAM = Path(sys.executable).parent / "lictor"
USAGE = {
    "dc2": {"Services": 3, "BillableServiceInstances": 4, "ConnectServiceInstances": {"b": 1}},
    "dc1": {
        "Services": 1,
        "BillableServiceInstances": 2,
        "ConnectServiceInstances": {"mesh-gateway": 5, "a": 0},
    },
}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    running = await Rig(make_config()).start()
    yield running
    await running.stop()


async def lictor(rig: Rig, *words: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *words, f"-http-addr={rig.url}", stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def test_one_datacenter_is_not_named_in_tables() -> None:
    assert billable_text({"dc1": USAGE["dc1"]}, everywhere=False) == (
        "Billable Service Instances Total: 2\n"
        "dc1 Billable Service Instances: 2\n\n"
        "Billable Services\n"
        "Services  Service instances\n"
        "1         2"
    )
    assert connect_table({"dc1": USAGE["dc1"]}, everywhere=False) == (
        "Type          Service instances\na             0\nmesh-gateway  5"
    )


def test_all_datacenters_have_a_sum() -> None:
    lines = billable_text(USAGE, everywhere=True).splitlines()
    assert lines[0] == "Billable Service Instances Total: 6"
    assert lines[-1].split() == ["Total", "4", "6"]
    assert connect_table(USAGE, everywhere=True).splitlines()[-1].split() == ["Total", "6"]


async def test_usage_of_a_running_agent(rig: Rig) -> None:
    status, out, _ = await lictor(rig, "operator", "usage", "instances")
    assert status == 0
    assert "Billable Service Instances Total: 0" in out
    assert "connect-native" in out
    status, _, err = await lictor(rig, "operator", "usage", "instances", "-billable", "-connect")
    assert (status, err) == (1, "Only one of -billable or -connect may be provided\n")


async def test_a_service_is_exported_once_to_each_peer(rig: Rig) -> None:
    words = ("services", "export", "-name=web")
    for peers in ("east,west", "west", "north"):
        status, out, err = await lictor(rig, *words, f"-consumer-peers={peers}")
        assert status == 0, err
        assert out.startswith('Successfully exported service "web" to cluster peers: ')
    status, out, _ = await lictor(rig, "config", "read", "-kind=exported-services", "-name=default")
    assert (out.count('"east"'), out.count('"west"'), out.count('"north"')) == (1, 1, 1)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "Missing the required -name flag"),
        (("-name=a",), "Missing the required -consumer-peers or -consumer-partitions flag"),
        (("-name=a", "-consumer-partitions=b"), "-consumer-partitions: partitions are not"),
    ],
    ids=["name", "consumers", "partitions"],
)
async def test_what_cannot_be_exported_is_told(rig: Rig, words: tuple[str, ...], text: str) -> None:
    status, out, err = await lictor(rig, "services", "export", *words)
    assert (status, out) == (1, "")
    assert err.startswith(text)
