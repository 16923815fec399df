"""A `Source` fed by the local agent's HTTP API with blocking queries.

One loop per thing that may change: the registration, the roots, our leaf, the intentions, the
endpoints of each upstream. Each asks, keeps the answer, and asks again with the index (or hash) it
got. When the agent is away the last answers stay in force and the loops try again with jitter.
What the JSON means is read in `api_json`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from proxy import api_json
from proxy.agent_api import AgentApi, ApiSourceConfig
from proxy.authz import Default, default_told
from proxy.backoff import Backoff
from proxy.errors import SourceError
from proxy.source import MeshState, OwnService, UpstreamSpec

log = logging.getLogger("lictor.proxy.api_source")


_REVOCATIONS = "/v1/connect/ca/revocations"


@dataclass(frozen=True, slots=True)
class _Answer:
    body: Any
    index: int
    content_hash: str
    default: Default


class ApiSource:
    """Follows the agent; see `run`."""

    def __init__(
        self,
        *,
        http_addr: str,
        proxy_id: str = "",
        own: OwnService | None = None,
        token: str = "",
        listen_address: str = "",
        config: ApiSourceConfig | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Either ``proxy_id`` names a registration to follow, or ``own`` is what to be.

        ``listen_address`` is where to listen when the registration names no address. Raises
        SourceError for an agent's address that cannot be read.
        """
        assert bool(proxy_id) != (own is not None), "a registration or a description, not both"
        self._proxy_id = proxy_id
        self._listen_address = listen_address or api_json.ANY_ADDRESS
        self._config = config or ApiSourceConfig()
        self._agent = AgentApi.of(http_addr, token, self._config)
        self._rng = rng or random.Random()
        self._state = MeshState(own=own)
        self._callbacks: list[Callable[[MeshState], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._followers: dict[str, tuple[object, asyncio.Task[None]]] = {}
        self._confirmed_at: dict[str, float] = {}
        self._began_at = time.monotonic()
        self.rejected = 0

    # What a proxy sees.

    @property
    def state(self) -> MeshState:
        """The newest state."""
        return self._state

    def subscribe(self, on_change: Callable[[MeshState], None]) -> None:
        """Call back after every change."""
        self._callbacks.append(on_change)

    def age_s(self) -> float:
        """Seconds since the loop that was heard least recently was heard (0: just now)."""
        oldest = min(self._confirmed_at.values(), default=self._began_at)
        return max(0.0, time.monotonic() - oldest - self._config.wait_s)

    # Life.

    async def start(self) -> None:
        """Begin to follow. State arrives through `subscribe`."""
        self._follow("roots", None, self._follow_index("roots", "/v1/agent/connect/ca/roots",
                                                       self._roots))  # fmt: skip
        self._follow("revocations", None, self._follow_revocations())
        if self._proxy_id:
            self._follow("registration", None, self._follow_registration())
        self._reconcile()

    async def close(self) -> None:
        """Stop following."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._agent.close()

    # The loops.

    def _follow(self, name: str, what: object, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"source {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        self._followers[name] = (what, task)
        self._confirmed_at[name] = time.monotonic()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("task failed name=%s", task.get_name(), exc_info=task.exception())

    def _unfollow(self, name: str) -> None:
        _, task = self._followers.pop(name)
        self._confirmed_at.pop(name, None)
        task.cancel()

    def _reconcile(self) -> None:
        """Follow what our registration asks for, and nothing else."""
        own = self._state.own
        if own is None:
            return
        wanted: dict[str, tuple[object, Callable[[], Coroutine[Any, Any, None]]]] = {}
        service = quote(own.name, safe="")
        wanted["leaf"] = (own.name, lambda: self._follow_index(
            "leaf", f"/v1/agent/connect/ca/leaf/{service}", self._leaf))  # fmt: skip
        wanted["intentions"] = (own.name, lambda: self._follow_index(
            "intentions", f"/v1/connect/intentions/match?by=destination&name={service}",
            self._intentions))  # fmt: skip
        for upstream in own.upstreams[: self._config.upstreams_max]:
            wanted[f"upstream {upstream.key}"] = (upstream, self._upstream_loop(upstream))
        for name, (what, _) in list(self._followers.items()):
            if name not in {"roots", "registration", "revocations"} and (
                name not in wanted or wanted[name][0] != what
            ):
                self._unfollow(name)
        for name, (what, loop) in wanted.items():
            if name not in self._followers:
                self._follow(name, what, loop())

    def _upstream_loop(self, upstream: UpstreamSpec) -> Callable[[], Coroutine[Any, Any, None]]:
        path = f"/v1/health/connect/{quote(upstream.name, safe='')}?passing"
        if upstream.datacenter:
            path += f"&dc={quote(upstream.datacenter, safe='')}"

        def take(answer: _Answer) -> None:
            endpoints = dict(self._state.endpoints)
            endpoints[upstream.key] = api_json.endpoints(answer.body)
            self._publish(endpoints=endpoints)

        return lambda: self._follow_index(f"upstream {upstream.key}", path, take)

    async def _follow_index(self, name: str, path: str, take: Callable[[_Answer], None]) -> None:
        index = 0

        async def once() -> None:
            nonlocal index
            joint = "&" if "?" in path else "?"
            held = f"{joint}index={index}&wait={self._config.wait_s:g}s" if index else ""
            answer = await self._get(path + held)
            if answer.index != index:
                take(answer)  # an answer that cannot be read is asked for again
            # An index that went back means another history: begin again (HTTP contract 1.6).
            index = answer.index if answer.index >= index else 0

        await self._repeat(name, once)

    async def _follow_revocations(self) -> None:
        """Agents of other makes have no such list."""
        try:
            if (await self._agent.get(_REVOCATIONS)).status == 404:
                self._confirmed_at.pop("revocations", None)
                return
        except (OSError, TimeoutError, SourceError):
            pass  # it is asked again below, until it answers
        await self._follow_index("revocations", _REVOCATIONS, self._revoked)

    async def _follow_registration(self) -> None:
        seen = ""
        path = f"/v1/agent/service/{quote(self._proxy_id, safe='')}"

        async def once() -> None:
            nonlocal seen
            held = f"?hash={seen}&wait={self._config.wait_s:g}s" if seen else ""
            answer = await self._get(path + held)
            if answer.content_hash != seen or not seen:
                self._publish(
                    own=api_json.own_service(
                        answer.body, self._proxy_id, listen_address=self._listen_address
                    )
                )
                self._reconcile()
                seen = answer.content_hash
            if not seen:
                await asyncio.sleep(1.0)  # an agent that gives no hash cannot hold the query

        await self._repeat("registration", once)

    async def _repeat(self, name: str, once: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(
            self._config.backoff_first_s, self._config.backoff_max_s, rng=self._rng, jitter=0.5
        )
        last = ""
        while True:
            try:
                await once()
            except (OSError, TimeoutError, SourceError) as error:
                self.rejected += isinstance(error, SourceError)
                text = f"{type(error).__name__}: {error}"
                if text != last:
                    log.warning("agent does not answer what=%s error=%s", name, text)
                last = text
                await asyncio.sleep(backoff.failed_s())
                continue
            if last:
                log.info("agent answers again what=%s", name)
            last = ""
            backoff.succeeded()
            self._confirmed_at[name] = time.monotonic()
            await asyncio.sleep(self._config.pause_min_s)

    async def _get(self, path: str) -> _Answer:
        answer = await self._agent.read(path)
        return _Answer(
            body=api_json.load(answer.body),
            index=api_json.index(answer.headers.get("x-consul-index", "")),
            content_hash=answer.headers.get("x-consul-contenthash", ""),
            default=default_told(answer.headers),
        )

    # Taking answers.

    def _publish(self, **fields: Any) -> None:
        state = replace(self._state, **fields)
        if state != self._state:
            self._state = state
            for callback in self._callbacks:
                callback(state)

    def _roots(self, answer: _Answer) -> None:
        roots = api_json.roots(answer.body)
        self._publish(roots_pem=roots.pem, trust_domain=roots.trust_domain)

    def _revoked(self, answer: _Answer) -> None:
        self._publish(revoked=api_json.revoked(answer.body))

    def _leaf(self, answer: _Answer) -> None:
        leaf, datacenter = api_json.leaf(answer.body)
        self._publish(leaf=leaf, datacenter=datacenter)

    def _intentions(self, answer: _Answer) -> None:
        own = self._state.own
        assert own is not None
        self._publish(
            rules=api_json.rules(answer.body, own.name),
            default_allow=answer.default.allow,
            default_reason=answer.default.reason,
        )
