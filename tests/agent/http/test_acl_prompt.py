"""Answers that are given fast, or from what is kept, follow every change of rights at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agent.acl.access import Access
from agent.backend import Ask
from agent.backend.acting import ACTING
from agent.config.bounds import Limits
from agent.config.schema import AclConfig, AclTokens
from agent.http.server import HttpServer
from tests.agent.http.acl_rig import MANAGEMENT, Manager, managed
from tests.agent.http.rig import Client, Rig, StateBackend, make_config

#: Reads that are answered without a task or from an answer that was kept, and what they show.
READS = {
    "/v1/kv/a": "dmFsdWU=",
    "/v1/kv/?recurse": "dmFsdWU=",
    "/v1/kv/?keys": '"a"',
    "/v1/health/service/web": '"web"',
    "/v1/catalog/service/web": '"web"',
    "/v1/catalog/services": '"web"',
    "/v1/catalog/nodes": '"n9"',
    "/v1/health/node/n9": '"alive"',
}
RULES = (
    'key "a" { policy = "read" } service "web" { policy = "read" } node "n9" { policy = "read" }'
)


async def fill(manager: Manager) -> str:
    """What there is to see; gives a token that may see it."""
    await manager.make("PUT", "/v1/kv/a", b"value")
    given = {
        "Node": "n9",
        "Address": "10.0.0.9",
        "Service": {"Service": "web"},
        "Check": {"Name": "alive", "Status": "passing"},
    }
    await manager.make("PUT", "/v1/catalog/register", given)
    await manager.make("PUT", "/v1/acl/policy", {"Name": "reads", "Rules": RULES})
    made = await manager.make("PUT", "/v1/acl/token", {"Policies": [{"Name": "reads"}]})
    return str(made["SecretID"])


async def sees(manager: Manager, target: str, secret: str) -> bool:
    got = await manager.ask("GET", target, token=secret)
    return READS[target] in got.text.replace(" ", "")


async def change(manager: Manager, rules: str) -> None:
    found = await manager.make("GET", "/v1/acl/policy/name/reads", None)
    await manager.make("PUT", f"/v1/acl/policy/{found['ID']}", {"Name": "reads", "Rules": rules})


@pytest.mark.parametrize("target", READS)
async def test_a_kept_answer_is_for_those_who_may_see_it(target: str) -> None:
    async with managed() as manager:
        secret = await fill(manager)
        for _ in range(3):
            assert await sees(manager, target, MANAGEMENT)
            assert await sees(manager, target, secret)
            assert not await sees(manager, target, "")
        await change(manager, "")
        assert not await sees(manager, target, secret)
        assert await sees(manager, target, MANAGEMENT)
        await change(manager, RULES)
        assert await sees(manager, target, secret)
        own = await manager.ask("GET", "/v1/acl/token/self", token=secret)
        await manager.make("DELETE", f"/v1/acl/token/{own.json['AccessorID']}", None)
        got = await manager.ask("GET", target, token=secret)
        assert (got.status, got.text) == (403, "ACL not found")


@pytest.mark.parametrize("target", READS)
async def test_a_token_that_runs_out_ends_what_was_kept(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with managed() as manager:
        await fill(manager)
        made = await manager.make(
            "PUT", "/v1/acl/token", {"Policies": [{"Name": "reads"}], "ExpirationTTL": "1m"}
        )
        secret = made["SecretID"]
        for _ in range(3):
            assert await sees(manager, target, secret)
        real = time.time
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda: real() + 61)
            got = await manager.ask("GET", target, token=secret)
        assert (got.status, got.text) == (403, "ACL not found")


@pytest.mark.parametrize("target", [target for target in READS if target != "/v1/kv/a"])
async def test_a_held_read_ends_with_the_rights_of_then(target: str) -> None:
    async with managed() as manager:
        secret = await fill(manager)
        got = await manager.ask("GET", target, token=secret)
        index = got.headers["x-consul-index"]
        mark = "&" if "?" in target else "?"
        path = f"{target}{mark}index={index}&wait=5s"
        async with Client(manager.rig.port) as other:
            await other.send("GET", path, None, {"X-Consul-Token": secret})
            await turn_it(manager)
            got = await asyncio.wait_for(other.receive(), 10)
        assert READS[target] not in got.text.replace(" ", "")


async def turn_it(manager: Manager) -> None:
    """Take the rights, then change what is asked for."""
    await asyncio.sleep(0.05)
    await change(manager, 'key "b" { policy = "read" }')
    await manager.make("PUT", "/v1/kv/b", b"other")
    again = {
        "Node": "n9",
        "Address": "10.0.0.10",
        "Service": {"Service": "web", "Port": 9},
        "Check": {"Name": "alive", "Status": "warning"},
    }
    await manager.make("PUT", "/v1/catalog/register", again)
    again = {"Node": "n8", "Address": "10.0.0.8", "Service": {"Service": "new"}}
    await manager.make("PUT", "/v1/catalog/register", again)


async def default(manager: Manager, secret: str) -> int:
    return (await manager.ask("PUT", "/v1/agent/token/default", {"Token": secret})).status


async def test_reads_with_the_agents_default_token_follow_its_change() -> None:
    tokens = AclTokens(initial_management=MANAGEMENT, default=MANAGEMENT)
    config = AclConfig(enabled=True, default_policy="deny", tokens=tokens)
    async with managed(acl=config) as manager:
        secret = await fill(manager)
        for _ in range(3):
            assert all([await sees(manager, target, "") for target in READS])
        assert await default(manager, secret) == 200
        assert await sees(manager, "/v1/kv/a", "")
        got = await manager.ask("PUT", "/v1/kv/a", b"x", token="")
        assert got.status == 403
        assert await default(manager, "") == 200
        assert not any([await sees(manager, target, "") for target in READS])


async def test_a_stream_of_watches_follows_every_change() -> None:
    async with managed() as manager, Client(manager.rig.port) as other:
        secret = await fill(manager)
        watched = "/v1/watch?watch=kv/?recurse"
        await other.send("GET", watched, None, {"X-Consul-Token": secret})
        seen = b""
        async with asyncio.timeout(10):
            while b"dmFsdWU=" not in seen:
                seen += await other.reader.read(4096)
            await change(manager, 'key "b" { policy = "read" }')
            await manager.make("PUT", "/v1/kv/b", b"other")
            later = b""
            while b"b3RoZXI=" not in later:
                later += await other.reader.read(4096)
        assert b"dmFsdWU=" not in later


async def test_a_denial_tells_only_those_with_a_token_why() -> None:
    async with managed() as manager:
        secret = await fill(manager)
        got: Any = await manager.ask("PUT", "/v1/kv/a", b"x", token=secret)
        assert (got.status, got.text) == (403, "Permission denied")
        assert 'key:write on "a"' in got.headers["x-lictor-acl-reason"]
        assert secret not in json.dumps(dict(got.headers))
        assert got.headers["x-consul-default-acl-policy"] == "deny"


WIDE = 'key_prefix "" { policy = "read" } service_prefix "" { policy = "read" } ' + (
    'node_prefix "" { policy = "read" }'
)
#: Reads of which some may see a part only.
LISTS = [target for target in READS if target.startswith(("/v1/health/service", "/v1/catalog/s"))]


async def token_of(manager: Manager, name: str, rules: str) -> str:
    made = await manager.make("PUT", "/v1/acl/policy", {"Name": name, "Rules": rules})
    token = await manager.make("PUT", "/v1/acl/token", {"Policies": [{"ID": made["ID"]}]})
    return str(token["SecretID"])


@pytest.mark.parametrize("target", ["/v1/kv/a", *LISTS])
async def test_who_may_see_all_shares_one_reply(target: str) -> None:
    async with managed() as manager:
        await fill(manager)
        secrets = [await token_of(manager, f"wide-{n}", WIDE) for n in range(4)]
        answers = manager.rig.server._prompt
        assert answers is not None
        await sees(manager, target, secrets[0])  # aiohttp learns the lines
        before, hits = answers.answered, answers.hits
        for secret in (*secrets, MANAGEMENT, *secrets):
            assert await sees(manager, target, secret)
        assert answers.answered == before + 9 and answers.hits >= hits + 8
        # What a need alone decides has no readers to remember.
        assert len(answers.kept) == 1 and answers.kept.readers == (0 if "kv" in target else 5)


@pytest.mark.parametrize("target", LISTS)
async def test_who_sees_a_part_has_a_reply_of_its_own(target: str) -> None:
    async with managed() as manager:
        await fill(manager)
        wide = await token_of(manager, "wide", WIDE)
        blind = await token_of(manager, "blind", 'key "a" { policy = "read" }')
        answers = manager.rig.server._prompt
        assert answers is not None
        callers = ((wide, True, None), (blind, False, "true"), ("", False, None))
        await sees(manager, target, wide)
        await sees(manager, target, "")
        for _ in range(3):
            before = answers.answered
            for secret, seen, told in callers:
                got = await manager.ask("GET", target, token=secret)
                assert (READS[target] in got.text.replace(" ", "")) is seen
                assert got.headers.get("x-consul-results-filtered-by-acls") == told
        assert answers.answered == before + 3


async def test_the_token_of_a_target_beats_that_of_the_head() -> None:
    async with managed() as manager:
        good = await fill(manager)
        bad = await token_of(manager, "bad", 'key "z" { policy = "read" }')
        for named, shown, status in ((good, bad, 200), (good, good, 200), (bad, good, 403)):
            for first in (named, shown):  # who asks first must not decide for who comes later
                target = f"/v1/kv/a?token={named}"
                assert (await manager.ask("GET", target, token=first)).status == status
                assert (await manager.ask("GET", target, token=shown)).status == status


async def test_remembered_readers_are_bounded() -> None:
    async with managed(limits=Limits(http_kept_readers_max=3)) as manager:
        await fill(manager)
        answers = manager.rig.server._prompt
        assert answers is not None
        rules = 'key_prefix "%d" { policy = "read" } '
        secrets = [await token_of(manager, f"t{n}", rules % n + WIDE) for n in range(5)]
        for target in ("/v1/kv/?recurse", "/v1/catalog/services"):
            for secret in secrets * 2:
                assert (await manager.ask("GET", target, token=secret)).status in {200, 404}
                held = sum(len(kept.readers) for kept in answers.kept)
                assert answers.kept.readers == held <= 3
        answers.kept.drop()
        assert answers.kept.readers == 0


async def test_writes_with_tokens_go_the_short_way() -> None:
    async with managed() as manager:
        await fill(manager)
        writers = [
            await token_of(manager, f"w{n}", 'key_prefix "" { policy = "write" }') for n in range(2)
        ]
        answers = manager.rig.server._prompt
        assert answers is not None
        await manager.make("PUT", "/v1/kv/c", b"first!")
        before = answers.answered
        for number, secret in enumerate((*writers, *writers)):
            got = await manager.ask("PUT", "/v1/kv/c", b"%06d" % number, token=secret)
            assert (got.status, got.body) == (200, b"true")
        assert answers.answered == before + 4
        reader = await token_of(manager, "n", "")
        assert (await manager.ask("PUT", "/v1/kv/c", b"denied", token=reader)).status == 403


class Noting:
    """Another agent's backend, with whose token each question and change came."""

    def __init__(self, backend: StateBackend) -> None:
        self._backend = backend
        self.acting: list[str | None] = []

    def ask_soon(self, query: Any, options: Ask, done: Callable[[Any], None]) -> bool:
        self.acting.append(ACTING.get())
        return self._backend.ask_soon(query, options, done)

    def change_soon(self, command: Any, done: Callable[[Any], None], actor: Any = None) -> None:
        self.acting.append(ACTING.get())
        self._backend.change_soon(command, done, actor)


async def test_an_agent_that_asks_another_takes_the_token_along() -> None:
    tokens = AclTokens(initial_management=MANAGEMENT)
    acl = AclConfig(enabled=True, default_policy="deny", tokens=tokens)
    rig = Rig(make_config(acl=acl), prompt=False)
    noting = Noting(rig.backend)
    own = rig.access
    elsewhere = Access(
        acl, rig.backend, resolver=own.resolver, tokens=own.tokens, holds_state=False
    )
    rig.context = replace(
        rig.context, access=elsewhere, prompt_changes=noting, prompt_questions=noting
    )
    rig.server = HttpServer(rig.context)
    await rig.start()
    await rig.keeper.ensure()
    try:
        async with Client(rig.port) as client:
            manager = Manager(client, rig)
            await fill(manager)
            secrets = [await token_of(manager, f"wide-{n}", WIDE) for n in range(2)]
            await sees(manager, "/v1/kv/a", MANAGEMENT)
            await manager.ask("PUT", "/v1/kv/b", b"12345")  # aiohttp learns the lines
            before = len(noting.acting)
            for secret in (*secrets, *secrets):
                assert await sees(manager, "/v1/kv/a", secret)
                got = await manager.ask("PUT", "/v1/kv/b", b"12345", token=secret)
                assert (got.status, got.body) == (200, b"true"), "the other one decides"
            assert noting.acting[before:] == [each for each in secrets * 2 for _ in range(2)]
            got = await manager.ask("GET", "/v1/kv/a", token=secrets[0][::-1])
            assert (got.status, got.text) == (403, "ACL not found")
            assert len(noting.acting) == before + 8
        assert ACTING.get() is None
    finally:
        await rig.stop()
