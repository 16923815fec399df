"""What a sidecar asks of its agent over HTTP, and within which bounds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from proxy import api_json
from proxy.errors import SourceError
from proxy.http1.whole import Answer
from proxy.http_client import AnswerTooLong, HttpClient, read_target

BODY_MAX_BYTES = 16 * 1024 * 1024
_LOOK_UP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSourceConfig:
    """Bounds and timings of the feed."""

    #: How long the agent may hold a blocking query, and what we add before we call it dead.
    wait_s: float = 60.0
    answer_slack_s: float = 15.0
    connect_timeout_s: float = 5.0
    body_max_bytes: int = BODY_MAX_BYTES
    backoff_first_s: float = 0.2
    backoff_max_s: float = 10.0
    #: The shortest time between two answers of one loop: a bound on a feed that never blocks.
    pause_min_s: float = 0.02
    upstreams_max: int = 256


class AgentApi:
    """The agent at one address ("host:port", or a URL), asked with one token."""

    def __init__(
        self,
        http_addr: str,
        *,
        token: str = "",
        total_timeout_s: float = _LOOK_UP_S,
        connect_timeout_s: float = _LOOK_UP_S,
        body_max_bytes: int = BODY_MAX_BYTES,
    ) -> None:
        """Raises SourceError for an address that cannot be read."""
        try:
            target = read_target(http_addr)
        except ValueError as error:
            raise SourceError(f"the agent's address cannot be used: {error}") from error
        self._client = HttpClient(
            target,
            total_timeout_s=total_timeout_s,
            connect_timeout_s=connect_timeout_s,
            body_max_bytes=body_max_bytes,
            headers={"X-Consul-Token": token} if token else None,
        )

    @staticmethod
    def of(http_addr: str, token: str, config: ApiSourceConfig) -> AgentApi:
        """For queries that the agent may hold. Raises SourceError."""
        return AgentApi(
            http_addr,
            token=token,
            total_timeout_s=config.wait_s + config.answer_slack_s,
            connect_timeout_s=config.connect_timeout_s,
            body_max_bytes=config.body_max_bytes,
        )

    async def get(self, path: str) -> Answer:
        """Whatever the agent answers. Raises OSError and TimeoutError when it does not, SourceError
        when that is too long."""
        try:
            return await self._client.get(path)
        except AnswerTooLong as error:
            raise SourceError(f"the agent's answer is {error}") from error

    async def read(self, path: str) -> Answer:
        """An answer that is good. Raises as ``get``, SourceError for any other status too."""
        answer = await self.get(path)
        if answer.status != 200:
            raise SourceError(f"status {answer.status}: {answer.body[:200]!r}")
        return answer

    async def put(self, path: str, told: Any) -> None:
        """Tell something; what the agent says to it does not matter. Raises as ``get``."""
        data = json.dumps(told).encode()
        try:
            await self._client.send("PUT", path, data, "application/json")
        except AnswerTooLong as error:
            raise SourceError(f"the agent's answer is {error}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


async def has_feed(http_addr: str, *, token: str = "") -> bool:
    """Whether the agent has feeds. One that does not answer is taken to have them: it is asked
    until it does. Raises SourceError for an address that cannot be read."""
    agent = AgentApi(http_addr, token=token)
    try:
        return (await agent.get("/v1/agent/connect/feeds")).status != 404
    except (OSError, TimeoutError, SourceError):
        return True
    finally:
        await agent.close()


async def find_sidecar(
    http_addr: str, service_id: str, *, token: str = "", body_max_bytes: int = BODY_MAX_BYTES
) -> str:
    """The id of the one proxy registered for a service. Raises SourceError if none or several."""
    services = await _services(http_addr, token=token, body_max_bytes=body_max_bytes)
    return api_json.sidecar_of(services, service_id)


async def find_gateway(http_addr: str, kind: str, name: str, *, token: str = "") -> str:
    """The id of the one gateway of a name. Raises SourceError if there is none, or several."""
    services = await _services(http_addr, token=token, body_max_bytes=BODY_MAX_BYTES)
    return api_json.gateway_of(services, f"{kind}-gateway", name)


async def _services(http_addr: str, *, token: str, body_max_bytes: int) -> Any:
    agent = AgentApi(http_addr, token=token, body_max_bytes=body_max_bytes)
    try:
        answer = await agent.read("/v1/agent/services")
    except (OSError, TimeoutError) as error:
        url = http_addr if "://" in http_addr else f"http://{http_addr}"
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise SourceError(
            f"Failed looking up sidecar proxy info: {url}: {reason or type(error).__name__}"
        ) from error
    finally:
        await agent.close()
    return api_json.load(answer.body)
