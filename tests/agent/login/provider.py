"""A small OpenID provider: real tokens, PKCE, codes that count once."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.agent.login.tokens import EC_KEY, RSA_KEY, jwk, sign

CLIENT, SECRET = "lictor", "s3cret+/"


class Provider(ThreadingHTTPServer):
    """``user`` is who logs in; ``alg`` how tokens are signed; ``change`` spoils the claims."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.user: dict[str, Any] = {"sub": "u1", "team": "Ops"}
        self.alg = "RS256"
        self.change: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.refused: list[str] = []

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent: back, with a code."""
        assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
        assert query["client_id"] == CLIENT and "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def tokens(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """None where something is not as it began."""
        begun = self.codes.pop(form.get("code", ""), None)
        pair = base64.b64encode(b"lictor:s3cret%2B%2F").decode()
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (
            begun is None
            or authorization != f"Basic {pair}"
            or challenge != begun["code_challenge"]
            or form.get("redirect_uri") != begun["redirect_uri"]
        ):
            self.refused.append(form.get("code", ""))
            return None
        now = time.time()
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": self.user["sub"], "iat": now,
            "exp": now + 300, "nonce": begun["nonce"], **self.change,
        }  # fmt: skip
        key = RSA_KEY if self.alg.startswith("RS") else EC_KEY
        return {
            "token_type": "Bearer",
            "access_token": "at",
            "id_token": sign(claims, key=key, alg=self.alg, header={"kid": self.alg}),
        }


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        url = self.server.url
        match parts.path:
            case "/.well-known/openid-configuration":
                self._say({
                    "issuer": url, "authorization_endpoint": f"{url}/authorize",
                    "token_endpoint": f"{url}/token", "jwks_uri": f"{url}/keys",
                    "userinfo_endpoint": f"{url}/userinfo",
                })  # fmt: skip
            case "/keys":
                keys = [jwk(RSA_KEY, kid="RS256"), jwk(EC_KEY, kid="ES256")]
                self._say({"keys": keys})
            case "/userinfo":
                known = self.headers.get("Authorization") == "Bearer at"
                self._say(self.server.user if known else {}, 200 if known else 401)
            case "/authorize":
                self.send_response(302)
                self.send_header("Location", self.server.authorize(query))
                self.end_headers()
            case _:
                self._say({}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        found = self.server.tokens(form, self.headers.get("Authorization", ""))
        self._say(found or {"error": "invalid_grant"}, 200 if found else 400)

    def _say(self, value: Any, status: int = 200) -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def running() -> Iterator[Provider]:
    """A provider on a free port."""
    provider = Provider()
    thread = threading.Thread(target=provider.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.shutdown()
        provider.server_close()
        thread.join(5)
