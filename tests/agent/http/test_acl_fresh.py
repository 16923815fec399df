"""Remembered rights decide as if nothing were remembered: kept replies against the state."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.acl.agent_tokens import AgentTokens
from agent.acl.caller import Denied
from agent.acl.guard import Guard
from agent.acl.resolver import ServerResolver
from agent.config.schema import AclTokens
from raftstore import queries as q
from tests.agent.http.acl_rig import Manager, managed
from tests.agent.http.rig import Got

RULES = [
    "",
    'key "a" { policy = "read" } service "web" { policy = "read" }',
    'key_prefix "" { policy = "read" } node_prefix "" { policy = "read" }',
    'key_prefix "" { policy = "read" } key "a" { policy = "deny" } node "n9" { policy = "read" }',
    'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }',
    'service_prefix "w" { policy = "read" } node_prefix "" { policy = "read" }',
    'key_prefix "a" { policy = "write" } service_prefix "" { policy = "write" }',
]
Names = Callable[[Any], set[str]]
#: What is asked, with the names in its JSON and those in the state's answer.
READS: dict[str, tuple[q.Query[Any], Names, Names]] = {
    "/v1/kv/a": (
        q.KVGet("a"), lambda body: {item["Key"] for item in body}, lambda value: {value.key}
    ),
    "/v1/kv/?recurse": (
        q.KVList(""),
        lambda body: {item["Key"] for item in body},
        lambda value: {item.key for item in value},
    ),
    "/v1/kv/?keys": (q.KVKeys(""), set, set),
    "/v1/catalog/services?stale": (q.ListServices(), set, set),
    "/v1/catalog/nodes": (
        q.ListNodes(),
        lambda body: {item["Node"] for item in body},
        lambda value: {item.name for item in value},
    ),
    "/v1/health/service/web": (
        q.HealthService(service="web"),  # type: ignore[arg-type]
        lambda body: {item["Node"]["Node"] for item in body},
        lambda value: {item.node.name for item in value},
    ),
}  # fmt: skip
TOKENS = 4
_token = st.integers(0, TOKENS)  # the last is that of nobody
_policy = st.integers(0, 2)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("rules"), _policy, st.integers(0, len(RULES) - 1)),
        st.tuples(st.just("link"), st.integers(0, TOKENS - 1), st.sets(_policy, max_size=2)),
        st.tuples(st.just("replace"), st.integers(0, TOKENS - 1), st.booleans()),
        st.tuples(st.just("default"), _token, st.none()),
        st.tuples(st.just("write"), st.sampled_from("ab"), st.none()),
        st.tuples(st.just("later"), st.integers(1, 50), st.none()),
    ),
    max_size=10,
)


class Setting:
    """Tokens whose rights change, and clients that show them in every way there is."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.later_s = 0.0
        self.tokens: list[tuple[str, str]] = []

    async def fill(self) -> None:
        for name in "ab":
            await self.manager.make("PUT", f"/v1/kv/{name}", b"v")
        for node, service in (("n8", "web"), ("n9", "web"), ("n9", "db")):
            body = {"Node": node, "Address": "10.0.0.9", "Service": {"Service": service}}
            await self.manager.make("PUT", "/v1/catalog/register", body)
        for name in range(3):
            body = {"Name": f"p{name}", "Rules": RULES[name]}
            await self.manager.make("PUT", "/v1/acl/policy", body)
        for number in range(TOKENS):
            self.tokens.append(await self.make(number % 3, ends=number == TOKENS - 1))

    async def make(self, policy: int, *, ends: bool) -> tuple[str, str]:
        body: dict[str, Any] = {"Policies": [{"Name": f"p{policy}"}]}
        if ends:
            body["ExpirationTTL"] = "60s"
        made = await self.manager.make("PUT", "/v1/acl/token", body)
        return made["AccessorID"], made["SecretID"]

    def secret(self, number: int) -> str:
        return self.tokens[number][1] if number < TOKENS else ""

    async def step(self, what: str, first: Any, second: Any) -> None:
        manager = self.manager
        match what:
            case "rules":
                found = await manager.make("GET", f"/v1/acl/policy/name/p{first}", None)
                body = {"Name": f"p{first}", "Rules": RULES[second]}
                await manager.make("PUT", f"/v1/acl/policy/{found['ID']}", body)
            case "link":
                links = {"Policies": [{"Name": f"p{each}"} for each in second]}
                # One that has run out is gone.
                await manager.ask("PUT", f"/v1/acl/token/{self.tokens[first][0]}", links)
            case "replace":
                await manager.ask("DELETE", f"/v1/acl/token/{self.tokens[first][0]}")
                if second:
                    self.tokens[first] = await self.make(first % 3, ends=True)
            case "default":
                self.manager.rig.access.tokens.set("default", self.secret(first))
            case "write":
                await manager.make("PUT", f"/v1/kv/{first}", b"other")
            case "later":
                self.later_s += first

    def expected(self, target: str, secret: str) -> tuple[int, set[str]]:
        """By a resolver and a guard that have never been asked anything."""
        rig = self.manager.rig
        default = rig.access.tokens.default
        resolver = ServerResolver(
            rig.backend,
            rig.config.acl,
            AgentTokens(AclTokens()),
            node="n1",
            datacenter="dc1",
            unix_clock=time.time,
        )
        query, _, names = READS[target]
        caller = resolver.now(secret or default)
        if caller is None:
            return 403, {"ACL not found"}
        guard = Guard(rig.backend, resolver, key_list_policy=False, dry_run=False)
        try:
            found = guard.answer(caller, query, rig.backend.answer(query, None))  # type: ignore[arg-type]
        except Denied as denied:
            return 403, {denied.text}
        if not found.value and target in {"/v1/kv/a", "/v1/kv/?recurse"}:
            return 404, set()
        return 200, names(found.value)

    async def ask(self, target: str, secret: str, how: int) -> Got:
        client = self.manager._client
        if not secret:
            return await client.ask("GET", target)
        if how == 0:
            return await client.ask("GET", target, None, {"X-Consul-Token": secret})
        if how == 1:
            return await client.ask("GET", target, None, {"Authorization": f"Bearer {secret}"})
        mark = "&" if "?" in target else "?"
        return await client.ask("GET", f"{target}{mark}token={secret}")

    async def compare(self) -> None:
        for number in range(TOKENS + 1):
            for at, target in enumerate(READS):
                secret = self.secret(number)
                got = await self.ask(target, secret, (at + number) % 3)
                seen: set[str] = set()
                if got.status == 200:
                    seen = READS[target][1](json.loads(got.body))
                elif got.status == 403:
                    seen = {got.text}
                assert (got.status, seen) == self.expected(target, secret), (target, number)


@settings(max_examples=6)
@given(steps=_steps)
def test_kept_rights_decide_as_fresh_ones_after_every_change(
    steps: list[tuple[str, Any, Any]],
) -> None:
    async def run() -> None:
        async with managed() as manager:
            setting = Setting(manager)
            real = time.time
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(time, "time", lambda: real() + setting.later_s)
                await setting.fill()
                await setting.compare()
                for step in steps:
                    await setting.step(*step)
                    await setting.compare()
            answers = manager.rig.server._prompt
            assert answers is not None and answers.answered > 20, "the short way was tried"

    asyncio.run(run())
