"""A login through a browser: waits on this host for the provider to send the browser back."""

from __future__ import annotations

import hmac
import json
import secrets
import time
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.cli.acl_calls import post
from agent.cli.command import Call

PATH = "/oidc/callback"
#: As long as the servers remember what they began, in seconds.
WAIT_S = 600.0
_PAGE = b"<!doctype html><title>lictor</title><p>%b You can close this window.</p>"
_LINE_MAX = 16_384


class LoginError(Exception):
    """The login came to nothing; the text is for the user."""


class _Waiting(HTTPServer):
    """Takes one answer of the provider."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Answered)
        self.found: dict[str, str] = {}


class _Answered(BaseHTTPRequestHandler):
    timeout = 10.0
    server: _Waiting

    def do_GET(self) -> None:
        """The browser is back."""
        parts = urlsplit(self.path)
        if parts.path != PATH or len(self.path) > _LINE_MAX:
            self.send_error(404)
            return
        given = {name: values[0] for name, values in parse_qs(parts.query).items()}
        # Whatever else finds its way here is no answer, and ends nothing.
        if "state" not in given or not ("code" in given or "error" in given):
            self.send_error(400)
            return
        page = _PAGE % (b"Logged in." if "code" in given else b"The login failed.")
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(page)
        self.server.found = given

    def log_message(self, format: str, *args: Any) -> None:
        """A code is nothing for a terminal."""


def log_in(call: Call, *, method: str, listen: str, meta: dict[str, str]) -> str:
    """The secret of the token that the login gives. Raises LoginError, ClientError."""
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise LoginError(f'invalid -oidc-callback-listen-addr "{listen}"')
    try:
        server = _Waiting((host.strip("[]"), int(port)))
    except OSError as error:
        raise LoginError(f"cannot listen on {listen}: {error.strerror or error}") from None
    with server:
        redirect = f"http://{host}:{server.server_address[1]}{PATH}"
        nonce = secrets.token_urlsafe(24)
        asked = {"AuthMethod": method, "RedirectURI": redirect, "ClientNonce": nonce, "Meta": meta}
        client = call.client()
        url = post(client, "/v1/acl/oidc/auth-url", json.dumps(asked).encode()).json()["AuthURL"]
        state = parse_qs(urlsplit(url).query).get("state", [""])[0]
        call.say("Complete the login via your OIDC provider. Launching browser to:\n")
        call.say(f"    {url}\n")
        call.out.flush()
        webbrowser.open(url)
        given = _wait(server, state)
    if "code" not in given:
        why = given.get("error_description") or given.get("error", "")
        raise LoginError(f"the provider refused the login: {why[:256]}")
    answer = {
        "AuthMethod": method, "State": state, "Code": given["code"], "ClientNonce": nonce,
    }  # fmt: skip
    found = post(client, "/v1/acl/oidc/callback", json.dumps(answer).encode()).json()
    return str(found["SecretID"])


def _wait(server: _Waiting, state: str) -> dict[str, str]:
    ends_at = time.monotonic() + WAIT_S
    while (left_s := ends_at - time.monotonic()) > 0:
        server.timeout = left_s
        server.handle_request()
        if server.found:
            if hmac.compare_digest(server.found["state"].encode(), state.encode()):
                return server.found
            server.found = {}  # of another login, or of nobody's
    raise LoginError("the provider did not send the browser back in time")
