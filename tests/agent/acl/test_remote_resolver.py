"""Tokens on an agent that has to ask: how long an answer counts, and what counts without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent.acl.agent_tokens import AgentTokens
from agent.acl.authorizer import READ, WRITE
from agent.acl.caller import Caller, TokenNotFound
from agent.acl.grants import Grant, ResolvedToken
from agent.acl.remote_resolver import RemoteResolver
from agent.config.schema import AclConfig, AclTokens
from agent.errors import ForwardError, RequestError

SECRET = "secret-1"
TTL_S = 30.0


class Server:
    """Whoever is asked."""

    def __init__(self) -> None:
        self.rules = 'key "a" { policy = "read" }'
        self.expires_at: float | None = None
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.holding: asyncio.Event | None = None

    async def ask(self, secret: str) -> ResolvedToken:
        self.asked.append(secret)
        if self.holding is not None:
            await self.holding.wait()
        if self.error is not None:
            raise self.error
        return ResolvedToken("accessor", (Grant("p", self.rules),), False, self.expires_at)


class Setting:
    def __init__(self, down_policy: str) -> None:
        self.server = Server()
        self.time = 1000.0
        tokens = AgentTokens(AclTokens(agent_recovery="recover"))
        config = AclConfig(enabled=True, down_policy=down_policy, token_ttl_s=TTL_S)
        self.resolver = RemoteResolver(
            self.server.ask,
            config,
            tokens,
            node="n1",
            clock=lambda: self.time,
            unix_clock=lambda: self.time,
        )

    async def rights(self, secret: str = SECRET) -> str:
        return rights(await self.resolver.find(secret))

    def down(self) -> None:
        self.server.error = ForwardError("nobody there", definite=True)


def rights(caller: Caller) -> str:
    """What may be done about the key "a"."""
    for name, level in (("write", WRITE), ("read", READ)):
        if caller.authorizer.allows("key", level, "a"):
            return name
    return "nothing"


@pytest.fixture(params=["extend-cache", "async-cache", "deny", "allow"])
async def any_policy(request: pytest.FixtureRequest) -> AsyncIterator[Setting]:
    setting = Setting(request.param)
    yield setting
    await setting.resolver.close()


async def test_an_answer_counts_for_the_ttl(any_policy: Setting) -> None:
    setting = any_policy
    assert setting.resolver.now(SECRET) is None
    assert await setting.rights() == "read"
    setting.time += TTL_S
    assert await setting.rights() == "read"
    assert setting.server.asked == [SECRET]
    found = setting.resolver.now(SECRET)
    assert found is not None and found.secret == SECRET


async def test_of_many_who_wait_one_asks(any_policy: Setting) -> None:
    setting = any_policy
    setting.server.holding = asyncio.Event()
    waiting = [asyncio.ensure_future(setting.rights()) for _ in range(20)]  # noqa: TID251
    other = asyncio.ensure_future(setting.rights("secret-2"))  # noqa: TID251
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    # Somebody who gives up takes the question from nobody.
    waiting[0].cancel()
    setting.server.holding.set()
    assert await asyncio.gather(*waiting[1:], other) == ["read"] * 20
    assert sorted(setting.server.asked) == [SECRET, "secret-2"]


async def test_an_unknown_token_is_asked_for_each_time(any_policy: Setting) -> None:
    setting = any_policy
    setting.server.error = TokenNotFound()
    for _ in range(2):
        with pytest.raises(TokenNotFound):
            await setting.rights()
    assert len(setting.server.asked) == 2
    assert setting.resolver.stats().not_found == 2


async def test_a_refusal_is_not_taken_for_an_absence(any_policy: Setting) -> None:
    setting = any_policy
    await setting.rights()
    setting.time += TTL_S + 1
    setting.resolver.forget()
    setting.server.error = RequestError(429, "slow down")
    with pytest.raises(RequestError) as told:
        await setting.rights()
    assert told.value.status == 429


@pytest.mark.parametrize(
    ("policy", "fresh", "known"),
    [
        ("extend-cache", "nothing", "read"),
        ("async-cache", "nothing", "read"),
        ("deny", "nothing", "nothing"),
        ("allow", "write", "write"),
    ],
)
async def test_without_servers_the_down_policy_decides(policy: str, fresh: str, known: str) -> None:
    setting = Setting(policy)
    setting.down()
    assert await setting.rights() == fresh, "never seen"
    setting.server.error = None
    assert await setting.rights() == "read"
    setting.down()
    setting.time += TTL_S + 1
    assert await setting.rights() == known, "seen before"
    setting.server.error = None
    assert await setting.rights() == "read", "servers are asked again at once"
    await setting.resolver.close()


@pytest.mark.parametrize("policy", ["extend-cache", "async-cache"])
async def test_what_has_expired_is_not_extended(policy: str) -> None:
    setting = Setting(policy)
    setting.server.expires_at = setting.time + 10
    assert await setting.rights() == "read"
    setting.down()
    setting.time += 11
    assert setting.resolver.now(SECRET) is None
    assert await setting.rights() == "nothing"
    await setting.resolver.close()


async def test_async_cache_answers_first_and_asks_meanwhile() -> None:
    setting = Setting("async-cache")
    assert await setting.rights() == "read"
    setting.time += TTL_S + 1
    setting.server.rules = 'key "a" { policy = "write" }'
    assert await setting.rights() == "read", "nobody waits"
    for _ in range(5):
        await asyncio.sleep(0)
    assert await setting.rights() == "write"
    setting.time += TTL_S + 1
    setting.server.error = TokenNotFound()
    assert await setting.rights() == "write"
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(TokenNotFound):
        await setting.rights()
    await setting.resolver.close()


async def test_a_longer_answer_replaces_a_shorter_one_after_the_ttl() -> None:
    setting = Setting("extend-cache")
    assert await setting.rights() == "read"
    setting.server.rules = ""
    assert await setting.rights() == "read"
    setting.time += TTL_S + 1
    assert await setting.rights() == "nothing"
    await setting.resolver.close()


async def test_the_recovery_token_needs_no_server(any_policy: Setting) -> None:
    setting = any_policy
    setting.down()
    found = await setting.resolver.find("recover")
    assert found.authorizer.allows("agent", WRITE, "n1")
    assert not found.authorizer.allows("agent", READ, "n2")
    assert found.authorizer.allows("node", READ, "any")
    assert rights(found) == "nothing"
    assert setting.server.asked == []


async def test_what_is_forgotten_is_asked_for_again(any_policy: Setting) -> None:
    setting = any_policy
    await setting.rights()
    setting.resolver.forget()
    assert setting.resolver.now(SECRET) is None
