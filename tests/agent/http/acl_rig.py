"""A served API with access control on, and a management token for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent.config.schema import AclConfig, AclTokens
from tests.agent.http.rig import Client, Got, Rig, make_config

MANAGEMENT = "aaaaaaaa-0000-4000-8000-00000000d00d"


class Manager:
    """A client with a token, by default the one that may do everything."""

    def __init__(self, client: Client, rig: Rig) -> None:
        self._client = client
        self.rig = rig

    async def ask(
        self, method: str, target: str, value: Any = None, *, token: str = MANAGEMENT
    ) -> Got:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        if value is None:
            body = b"" if method in {"PUT", "POST"} else None
        headers = {"X-Consul-Token": token} if token else {}
        return await self._client.ask(method, target, body, headers)

    async def make(self, method: str, target: str, value: Any) -> Any:
        """The JSON of what must be answered with 200."""
        got = await self.ask(method, target, value)
        assert got.status == 200, (got.status, got.text)
        return got.json


@asynccontextmanager
async def managed(*, audit: Any = None, **changes: Any) -> AsyncIterator[Manager]:
    acl = AclConfig(
        enabled=True, default_policy="deny", tokens=AclTokens(initial_management=MANAGEMENT)
    )
    rig = await Rig(make_config(**{"acl": acl, **changes}), audit=audit).start()
    await rig.keeper.ensure()
    try:
        async with Client(rig.port) as client:
            yield Manager(client, rig)
    finally:
        await rig.stop()
