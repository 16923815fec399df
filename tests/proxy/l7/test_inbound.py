"""Requests with tokens, through two sidecars in one loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agent.login.jose import Jose
from proxy.authz import Permission, Rule
from proxy.jwt import Claim, Wanted, read_provider
from tests.proxy.l7.test_gateway import Make, make, telling  # noqa: F401  (a fixture)
from tests.proxy.tokens import Issuer

ISSUER = Issuer()
PLAIN = Rule(source="web", destination="db", action="allow", precedence=9)


def get(path: str = "/", token: str = "", *more: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: db", *more]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def with_provider(pair: Any, rules: tuple[Rule, ...], **more: Any) -> None:
    provider = read_provider("idp", ISSUER.provider(**more))
    pair.db._http._key_sets._jose = Jose()
    pair.mesh.sources["db"].change(rules=rules, providers={"idp": provider})


async def test_an_intention_may_want_a_token(make: Make) -> None:  # noqa: F811
    pair = await make()
    await with_provider(pair, (replace(PLAIN, providers=(Wanted("idp"),)),))
    first, headers, body = await pair.ask(get())
    assert first.startswith("HTTP/1.1 401 ") and body == b"Jwt is missing"
    assert headers["www-authenticate"] == "Bearer" and headers["x-lictor-reference"]
    first, _, body = await pair.ask(get("/", ISSUER.token(iss="you")))
    assert first.startswith("HTTP/1.1 401 ") and body == b"Jwt verification fails"
    first, _, _ = await pair.ask(get("/", ISSUER.token(iss="me")))
    assert first.startswith("HTTP/1.1 200 ")
    assert pair.db._http.stats.denied == 2


async def test_a_permission_may_want_claims(make: Make) -> None:  # noqa: F811
    pair = await make()
    wanted = (Wanted("idp", (Claim(("role",), "admin"),)),)
    admin = Permission(action="allow", path_form="prefix", path="/admin", providers=wanted)
    rest = Permission(action="allow", path_form="prefix", path="/")
    rule = replace(PLAIN, action="", permissions=2, matches=(admin, rest))
    await with_provider(pair, (rule,))
    admins, others = ISSUER.token(iss="me", role="admin"), ISSUER.token(iss="me", role="x")
    for path, token, status in (
        ("/", "", 200), ("/admin", "", 401), ("/admin", others, 403), ("/admin", admins, 200),
        ("/x/../admin", others, 403),
    ):  # fmt: skip
        first, _, _ = await pair.ask(get(path, token))
        assert f" {status} " in first, (path, token)


async def test_the_application_gets_the_payload_and_not_the_token(make: Make) -> None:  # noqa: F811
    seen: list[str] = []

    async def serve(reader: Any, writer: Any) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    pair = await make(serve)
    rule = replace(PLAIN, providers=(Wanted("idp"),))
    await with_provider(pair, (rule,), Forwarding={"HeaderName": "X-Payload"})
    await pair.ask(get("/", ISSUER.token(iss="me", sub="S"), "X-Payload: forged"))
    lines = dict(line.split(": ", 1) for line in seen[0].strip().split("\r\n")[1:])
    assert "authorization" not in lines
    assert "forged" not in seen[0]
    assert "x-payload" in lines


async def test_headers_with_underscores_as_the_mesh_says(make: Make) -> None:  # noqa: F811
    """One that a rule wants gone may not come by another name."""
    pair = await make()
    asked = get("/", "", "X_Deny: yes")
    first, _, body = await pair.ask(asked)
    assert first.startswith("HTTP/1.1 400 ") and body == b"a header name with an underscore"
    for wanted in ("DROP_HEADER", "ALLOW"):
        pair.mesh.sources["db"].change(underscored=wanted)
        first, _, _ = await pair.ask(asked)
        assert first.startswith("HTTP/1.1 200 "), wanted
