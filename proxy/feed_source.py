"""A `Source` fed by the agent's one stream for a proxy (docs/internals/feed.md).

Asks with the version that it has, takes what is new, and says whether it can work by it. When the
agent is away the last good state stays in force for ever, and it is asked again with jitter.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

from proxy import api_json
from proxy.agent_api import AgentApi, ApiSourceConfig
from proxy.authz import Default, default_told
from proxy.backoff import Backoff
from proxy.errors import SourceError
from proxy.feed import Resources
from proxy.source import MeshState

log = logging.getLogger("lictor.proxy.feed_source")


class FeedSource:
    """Follows the agent for one registered proxy."""

    def __init__(
        self,
        *,
        http_addr: str,
        proxy_id: str,
        token: str = "",
        listen_address: str = "",
        config: ApiSourceConfig | None = None,
        rng: random.Random | None = None,
        late: Mapping[bytes, str] | None = None,
    ) -> None:
        """``listen_address`` is where to listen when the registration names no address. ``late``:
        modules that what is told will want if these bytes stand in it; they are loaded before it is
        taken, so that the loop does not have to. Raises SourceError for an agent's address that
        cannot be read."""
        self._path = f"/v1/agent/connect/feed/{quote(proxy_id, safe='')}"
        self.proxy_id = proxy_id
        self._listen_address = listen_address or api_json.ANY_ADDRESS
        self._config = config or ApiSourceConfig()
        self._agent = AgentApi.of(http_addr, token, self._config)
        self._rng = rng or random.Random()
        self._state = MeshState()
        self._resources = Resources()
        self._default: Default | None = None
        self._callbacks: list[Callable[[MeshState], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._late = dict(late or {})
        self._confirmed_at = time.monotonic()
        self.rejected = 0
        #: Where this proxy tells its metrics on this host; 0 for nowhere.
        self.admin_port = 0

    @property
    def state(self) -> MeshState:
        """The newest state."""
        return self._state

    def subscribe(self, on_change: Callable[[MeshState], None]) -> None:
        """Call back after every change."""
        self._callbacks.append(on_change)

    def age_s(self) -> float:
        """Seconds since the agent was heard, beyond the time that it may hold a query."""
        return max(0.0, time.monotonic() - self._confirmed_at - self._config.wait_s)

    async def start(self) -> None:
        """Begin to follow. State arrives through `subscribe`."""
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="proxy feed")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._agent.close()

    async def _follow(self) -> None:
        backoff = Backoff(
            self._config.backoff_first_s, self._config.backoff_max_s, rng=self._rng, jitter=0.5
        )
        last = ""
        while True:
            try:
                await self._once()
            except (OSError, TimeoutError, SourceError) as error:
                text = f"{type(error).__name__}: {error}"
                if text != last:
                    log.warning("the agent's feed is not there error=%s", text)
                last = text
                await asyncio.sleep(backoff.failed_s())
                continue
            if last:
                log.info("the agent's feed is there again")
            last = ""
            backoff.succeeded()
            self._confirmed_at = time.monotonic()
            await asyncio.sleep(self._config.pause_min_s)

    async def _once(self) -> None:
        """Ask for what is new, and work by it or say why not."""
        version = self._resources.version
        query = (
            f"?version={quote(version, safe='')}&wait={self._config.wait_s:g}s" if version else ""
        )
        answer = await self._agent.read(self._path + query)
        default = default_told(answer.headers)
        await self._load(answer.body)
        self._resources.take(api_json.load(answer.body))
        if self._resources.version == version:
            return
        self._default = default
        error = self._publish()
        await self._acknowledge(error)

    async def _load(self, body: bytes) -> None:
        for mark in [mark for mark in self._late if mark in body]:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, importlib.import_module, self._late.pop(mark))

    def _publish(self) -> str:
        """Work by what is held; the reason why that cannot be, "" if it can."""
        try:
            state = self._resources.state(
                self.proxy_id,
                listen_address=self._listen_address,
                default=self._default,
            )
        except SourceError as error:
            self.rejected += 1
            log.warning("the agent's feed is refused, the last good state stays error=%s", error)
            return str(error)
        if state != self._state:
            self._state = state
            for callback in self._callbacks:
                callback(state)
        return ""

    async def _acknowledge(self, error: str) -> None:
        told = {
            "Version": self._resources.version,
            "Error": error,
            "AdminPort": self.admin_port,
        }
        await self._agent.put(self._path, told)
