"""KV operations over HTTP, with an honest outcome: ok, fail (did not happen) or info (unknown)."""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import dataclass
from urllib.parse import quote

from jepsen_lite.history import FAIL, INFO, OK

#: Server errors that promise that nothing was changed (HTTP API contract, section 1).
DEFINITE_TEXTS = ("No cluster leader", "No known Consul servers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an operation ended. ``value`` is what was read, None for a missing key."""

    type: str
    value: str | None = None
    modify_index: int = 0
    error: str = ""


class Client:
    """Speaks to one agent, a connection for each request: no outcome depends on an earlier one."""

    def __init__(self, host: str, port: int, *, timeout_s: float = 5.0) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    def write(self, key: str, value: str) -> Outcome:
        """Set a key."""
        return self._change("PUT", f"/v1/kv/{quote(key)}", value.encode())

    def compare_and_set(self, key: str, modify_index: int, value: str) -> Outcome:
        """Set a key if its modify index is still this (0: if there is no such key)."""
        return self._change("PUT", f"/v1/kv/{quote(key)}?cas={modify_index}", value.encode())

    def read(self, key: str, mode: str = "consistent") -> Outcome:
        """Read a key; ``mode`` is "consistent", "stale" or "" for the default. A failed read is
        always a fail: it changes nothing."""
        query = f"?{mode}" if mode else ""
        try:
            status, body = self._request("GET", f"/v1/kv/{quote(key)}{query}", None)
            if status == 404:
                return Outcome(type=OK)
            if status != 200:
                return Outcome(type=FAIL, error=f"{status} {_text(body)}")
            entry = json.loads(body)[0]
            raw = base64.b64decode(entry["Value"] or "").decode()
            return Outcome(type=OK, value=raw, modify_index=entry["ModifyIndex"])
        except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError) as error:
            return Outcome(type=FAIL, error=_named(error))

    def leader(self) -> str:
        """The leader's address as this agent sees it, "" for none or no answer."""
        try:
            status, body = self._request("GET", "/v1/status/leader", None)
            return str(json.loads(body)) if status == 200 else ""
        except (OSError, http.client.HTTPException, ValueError):
            return ""

    def _change(self, method: str, path: str, body: bytes) -> Outcome:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.connect()
        except OSError as error:
            return Outcome(type=FAIL, error=_named(error))  # nothing was sent
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return judge_change(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            return Outcome(type=INFO, error=_named(error))
        finally:
            connection.close()

    def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def judge_change(status: int, body: bytes) -> Outcome:
    """The outcome of a change from its HTTP reply. A server error is unknown unless its text
    promises that nothing happened."""
    text = _text(body)
    if status == 200:
        if text.strip() == "true":
            return Outcome(type=OK)
        return Outcome(type=FAIL, error=f"answered {text.strip()}")
    if 400 <= status < 500 or any(words in text for words in DEFINITE_TEXTS):
        return Outcome(type=FAIL, error=f"{status} {text}")
    return Outcome(type=INFO, error=f"{status} {text}")


def _text(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace")


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
