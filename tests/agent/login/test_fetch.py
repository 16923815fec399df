"""Key sets, discovery and reviews over real connections, with what a bad neighbour answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.login import fetch, jwt, kubernetes
from agent.login.methods import JwtMethod, KubernetesMethod
from tests.agent.login.tokens import EC_KEY, RSA_KEY, jwk
from tests.certificates import TestCA


class Issuer:
    """Answers each path with what a test puts there."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        self.asked.append((request.path, request.headers.get("Authorization", ""), body))
        found = self.answers.get(request.path)
        if isinstance(found, web.Response):
            return found
        if callable(found):
            return await found()  # type: ignore[no-any-return]
        status = 201 if body else 200
        return (
            web.json_response(found, status=status)
            if found is not None
            else web.Response(status=404)
        )


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    found = Issuer()
    runner = web.ServerRunner(web.Server(found.handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
async def vouchers() -> AsyncIterator[fetch.Vouchers]:
    found = fetch.Vouchers()
    yield found
    await found.close()


async def test_a_key_set_is_read_once_and_again_for_a_key_it_lacks(
    issuer: Issuer, vouchers: fetch.Vouchers, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.answers["/keys"] = {"keys": [jwk(RSA_KEY, kid="a")]}
    method = JwtMethod(jwks_url=issuer.url + "/keys")
    assert [key.id for key in await vouchers.keys_of(method, "a")] == ["a"]
    issuer.answers["/keys"] = {"keys": [jwk(EC_KEY, kid="b")]}
    assert [key.id for key in await vouchers.keys_of(method, "a")] == ["a"]
    assert [key.id for key in await vouchers.keys_of(method, "b")] == ["a"]  # not so soon again
    monkeypatch.setattr(fetch, "PAUSE_S", 0.0)
    assert [key.id for key in await vouchers.keys_of(method, "b")] == ["b"]
    assert len(issuer.asked) == 2


async def test_discovery_leads_to_the_keys(issuer: Issuer, vouchers: fetch.Vouchers) -> None:
    issuer.answers["/.well-known/openid-configuration"] = {
        "issuer": issuer.url,
        "jwks_uri": issuer.url + "/k",
    }
    issuer.answers["/k"] = {"keys": [jwk(RSA_KEY)]}
    keys = await vouchers.keys_of(JwtMethod(discovery_url=issuer.url))
    assert len(keys) == 1
    issuer.answers["/again/.well-known/openid-configuration"] = {"issuer": issuer.url}
    with pytest.raises(fetch.FetchError, match="issuer did not match"):
        await vouchers.keys_of(JwtMethod(discovery_url=f"{issuer.url}/again"))


async def forever() -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (web.Response(status=500), "unexpected status 500"),
        (web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "status 302"),
        (web.Response(text="<html>"), "the answer is no JSON"),
        (web.Response(body=b"[" * 100_000), "the answer is no JSON"),
        (web.Response(body=b" " * (fetch.ANSWER_BYTES_MAX + 9)), "is longer than"),
        ([], "no list of keys"),
        (forever, "did not answer in time"),
    ],
    ids=["error", "redirect", "html", "deep", "long", "no keys", "silence"],
)
async def test_bad_answers_are_no_keys(
    issuer: Issuer,
    vouchers: fetch.Vouchers,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    why: str,
) -> None:
    if answer is forever:
        monkeypatch.setattr(fetch, "TIMEOUT_S", 0.2)
    issuer.answers["/keys"] = answer
    with pytest.raises(fetch.FetchError, match=why):
        await vouchers.keys_of(JwtMethod(jwks_url=issuer.url + "/keys"))


async def test_an_address_is_not_told(vouchers: fetch.Vouchers) -> None:
    with pytest.raises(fetch.FetchError) as error:
        await vouchers.keys_of(JwtMethod(jwks_url="http://user:pass@127.0.0.1:1/"))
    assert "pass" not in str(error.value)
    assert (vouchers.asked, vouchers.failed) == (1, 1)


async def test_a_cluster_is_asked_with_our_own_token(
    issuer: Issuer, vouchers: fetch.Vouchers
) -> None:
    user = {"username": "system:serviceaccount:ns:web", "uid": "u"}
    issuer.answers[kubernetes.REVIEWS] = {"status": {"authenticated": True, "user": user}}
    issuer.answers["/api/v1/namespaces/ns/serviceaccounts/web"] = {"metadata": {}}
    method = KubernetesMethod(host=issuer.url, authorities_pem="", own_token="ours")
    found = await vouchers.review(method, "theirs")
    assert found.values == {"namespace": "ns", "name": "web", "uid": "u"}
    assert [asked[1] for asked in issuer.asked] == ["Bearer ours"] * 2
    assert '"token": "theirs"' in issuer.asked[0][2]
    del issuer.answers["/api/v1/namespaces/ns/serviceaccounts/web"]
    with pytest.raises(fetch.FetchError, match="annotation lookup failed: unexpected status 404"):
        await vouchers.review(method, "theirs")


async def test_static_keys_ask_nobody(vouchers: fetch.Vouchers) -> None:
    key = jwt.Key(RSA_KEY.public_key())
    assert await vouchers.keys_of(JwtMethod(keys=(key,))) == (key,)
    assert vouchers.asked == 0


async def test_only_the_authority_that_is_named_is_believed(
    vouchers: fetch.Vouchers, tmp_path: Path
) -> None:
    ca, other = TestCA(tmp_path), TestCA(tmp_path, "other")
    found, server = Issuer(), ca.server("s")
    found.answers["/keys"] = {"keys": [jwk(RSA_KEY)]}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.cert, server.key)
    runner = web.ServerRunner(web.Server(found.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        port = runner.addresses[0][1]
        for name, authority, known in (
            ("localhost", ca, True),
            ("localhost", other, False),
            ("127.0.0.1", ca, False),  # it is not in the certificate
        ):
            pem = text_of(authority.file)
            method = JwtMethod(jwks_url=f"https://{name}:{port}/keys", authorities_pem=pem)
            if known:
                assert len(await vouchers.keys_of(method)) == 1
            else:
                with pytest.raises(fetch.FetchError):
                    await vouchers.keys_of(method)
        with pytest.raises(fetch.FetchError):  # the system's authorities do not know it either
            await vouchers.keys_of(JwtMethod(jwks_url=f"https://localhost:{port}/keys"))
    finally:
        await runner.cleanup()


def text_of(path: Path) -> str:
    return path.read_text()
