"""Questions to other datacenters: what an unknown one, a silent one and an error come to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.backend import Ask, Reply
from agent.errors import ForwardError, RequestError
from agent.queries import NOWHERE, Datacenters, Elsewhere
from agent.wan.questions import told
from agent.wan.ways import NoPath, UnknownDatacenter
from raftstore.queries import HealthService, Query
from raftstore.records import ServiceName

QUERY = HealthService(service=ServiceName("web"))


class Border:
    """A way on which one thing happens."""

    def __init__(self, happens: Exception | None = None, *, silent: bool = False) -> None:
        self.happens, self.silent = happens, silent
        self.secrets: list[str] = []

    async def ask(
        self, datacenter: str, query: Query[Any], options: Ask, *, secret: str, timeout_s: float
    ) -> Reply[Any]:
        self.secrets.append(secret)
        if self.silent:
            await asyncio.Event().wait()
        if self.happens is not None:
            raise self.happens
        return Reply(value=(datacenter, query), index=1)

    async def datacenters(self) -> list[str]:
        return ["east", "west"]


async def ask(way: Any, *, lenient: bool = False) -> Any:
    return await told(way, Elsewhere("west", QUERY, lenient), Ask(), secret="s", timeout_s=0.05)


async def test_an_answer_is_the_value_and_the_token_goes_with_it() -> None:
    border = Border()
    assert await ask(border) == ("west", QUERY)
    assert border.secrets == ["s"]
    known = await told(border, Datacenters(), Ask(), secret="s", timeout_s=1.0)
    assert known == ["east", "west"]


async def test_nobody_knows_it() -> None:
    for way in (Border(UnknownDatacenter()), None):
        assert await ask(way) is NOWHERE
        assert await ask(way, lenient=True) is None
    assert await told(None, Datacenters(), Ask(), secret="", timeout_s=1.0) == []


@pytest.mark.parametrize(
    "error", [NoPath(), ForwardError("gone", definite=True), RequestError(403, "denied")]
)
async def test_an_error_is_one_unless_others_are_tried_next(error: Exception) -> None:
    with pytest.raises(type(error)):
        await ask(Border(error))
    assert await ask(Border(error), lenient=True) is None


async def test_silence_ends() -> None:
    with pytest.raises(ForwardError, match="west is silent"):
        await ask(Border(silent=True))
    assert await ask(Border(silent=True), lenient=True) is None
