"""Key sets from elsewhere: fetched when they are wanted, kept while they cannot be, renewed."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from agent.login.jose import Jose
from proxy.jwt import Checked, Provider, Remote, read_provider
from proxy.key_sets import KeySets
from tests.proxy.tokens import Issuer

#: What is tested does not depend on the loop.
ONE_LOOP = True


class Place:
    """Where a key set is to be had."""

    def __init__(self) -> None:
        self.keys = b""
        self.status = 200
        self.asked = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=self.keys, status=self.status)


@pytest.fixture
async def place() -> AsyncIterator[tuple[Place, str]]:
    made, app = Place(), web.Application()
    app.router.add_get("/keys", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield made, f"http://127.0.0.1:{port}/keys"
    await runner.cleanup()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0


def sets(clock: Clock, jose: Jose | None = None) -> KeySets:
    loop = asyncio.get_running_loop()
    return KeySets(
        jose or Jose(),
        spawn=lambda work, name: loop.create_task(work, name=name),
        now=lambda: clock.now,
        wall=time.time,
    )


def look(held: KeySets, token: str) -> Checked:
    return held.tokens({"authorization": f"Bearer {token}"}, "/")("idp")


async def test_a_set_is_fetched_once_kept_and_renewed_for_a_new_key(
    place: tuple[Place, str],
) -> None:
    there, uri = place
    first, second, clock = Issuer("k1"), Issuer("k2"), Clock()
    there.keys = first.jwks
    held = sets(clock)
    held.update({"idp": Provider(name="idp", remote=Remote(uri=uri, timeout_s=20.0))})
    await asyncio.gather(*(held.ready(["idp"]) for _ in range(20)))
    assert look(held, first.token()).claims is not None
    assert there.asked == 1
    there.keys = second.jwks
    unknown = look(held, second.token())
    assert unknown.claims is None and unknown.unknown_key
    assert not await held.renewed(unknown), "not at once: anybody can name a key"
    clock.now += 11
    assert await held.renewed(unknown)
    assert look(held, second.token()).claims is not None
    assert look(held, first.token()).claims is None
    # It goes away: what is known stays in use for an hour, and then no longer.
    there.status = 500
    clock.now += 400
    await held.ready(["idp"])
    assert look(held, second.token()).claims is not None
    clock.now += 4000
    await held.ready(["idp"])
    assert look(held, second.token()).claims is None
    there.status = 200
    clock.now += 2
    await held.ready(["idp"])
    assert look(held, second.token()).claims is not None
    assert held.explain()["idp"]["keys"] is True


async def test_without_keys_nobody_is_let_in(place: tuple[Place, str], tmp_path: Path) -> None:
    there, uri = place
    issuer, clock = Issuer(), Clock()
    held = sets(clock)
    assert look(held, issuer.token()).text == "Jwt verification fails"
    for keys, status in ((b"{}", 200), (b"no json", 200), (issuer.jwks, 404), (b"x" * 2**21, 200)):
        there.keys, there.status = keys, status
        held.update({})
        held.update({"idp": Provider(name="idp", remote=Remote(uri=uri, timeout_s=20.0))})
        await held.ready(["idp"])
        assert look(held, issuer.token()).claims is None
    file = tmp_path / "keys.json"
    held.update({"idp": Provider(name="idp", filename=str(file))})
    await held.ready(["idp"])
    assert look(held, issuer.token()).claims is None
    file.write_bytes(issuer.jwks)
    clock.now += 2
    await held.ready(["idp"])
    assert look(held, issuer.token()).claims is not None


async def test_verified_tokens_are_remembered_within_bounds() -> None:
    issuer, calls = Issuer(), 0

    class Counting(Jose):
        def claims(self, token: str, keys: object) -> object:  # type: ignore[override]
            nonlocal calls
            calls += 1
            return super().claims(token, keys)

    held = sets(Clock(), Counting())
    given = issuer.provider(CacheConfig={"Size": 2}, ClockSkewSeconds=0)
    given["JSONWebKeySet"]["Local"]["JWKS"] = base64.b64encode(issuer.jwks).decode()
    held.update({"idp": read_provider("idp", given)})
    ends = time.time() + 3600
    tokens = [issuer.token(iss="me", exp=ends, n=n) for n in range(3)]
    for _ in range(5):
        assert look(held, tokens[0]).claims is not None
    assert calls == 1
    for token in tokens:
        look(held, token)
    assert held.explain()["idp"]["remembered"] == 2
    # What is remembered is the signature; whether it is still time is asked each time.
    late = issuer.token(iss="me", exp=time.time() - 10)
    assert look(held, late).claims is None and look(held, late).claims is None
