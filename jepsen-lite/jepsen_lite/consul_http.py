"""Consul's HTTP API and DNS, as lictor and Consul speak them."""

from __future__ import annotations

import base64
import copy
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from jepsen_lite.client import Entry, Outcome
from jepsen_lite.history import FAIL, INFO, OK, Json

#: Server errors that promise that nothing was changed (HTTP API contract, section 1).
DEFINITE_TEXTS = ("No cluster leader", "No known Consul servers")
_ERRORS = (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError)


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    index: int
    age_s: float | None


class ConsulClient:
    """Speaks to one agent, a connection for each request: no outcome depends on an earlier one.
    ``keeping()`` gives one that keeps its connection.

    ``prefix`` stands before every key; with ``tls`` connections are encrypted and the agent's
    certificate is verified.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        dns_port: int = 0,
        timeout_s: float = 5.0,
        prefix: str = "",
        token: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._dns_port = dns_port
        self._timeout_s = timeout_s
        self._prefix = prefix
        self._headers = {"X-Consul-Token": token} if token else {}
        self._tls = tls
        self._keeps = False
        self._kept: http.client.HTTPConnection | None = None

    def keeping(self) -> ConsulClient:
        """The same with a connection that stays open until a request on it fails: what is asked on
        it is before a frozen server the moment it wakes, with nothing to be accepted first."""
        kept = copy.copy(self)
        kept._keeps = True
        return kept

    def close(self) -> None:
        """End the connection that is kept."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    # keys

    def write(self, key: str, value: str) -> Outcome:
        return self._change("PUT", self._path(key), value.encode())

    def compare_and_set(self, key: str, modify_index: int, value: str) -> Outcome:
        return self._change("PUT", f"{self._path(key)}?cas={modify_index}", value.encode())

    def read(self, key: str, mode: str = "consistent") -> Outcome:
        try:
            reply = self._request("GET", f"{self._path(key)}{_query(mode)}")
            if reply.status == 404:
                return Outcome(type=OK, age_s=reply.age_s)
            if reply.status != 200:
                return _refused(reply)
            entry = json.loads(reply.body)[0]
            return Outcome(
                type=OK,
                value=_text(entry["Value"]),
                modify_index=entry["ModifyIndex"],
                age_s=reply.age_s,
            )
        except _ERRORS as error:
            return Outcome(type=FAIL, error=_named(error))

    def read_tree(self, prefix: str, mode: str = "consistent") -> tuple[Outcome, dict[str, Entry]]:
        return self._tree(f"{self._path(prefix)}{_query(mode, 'recurse')}", self._timeout_s)

    def watch_tree(
        self, prefix: str, index: int, wait_s: float
    ) -> tuple[Outcome, dict[str, Entry]]:
        path = f"{self._path(prefix)}?recurse&index={index}&wait={wait_s:g}s"
        return self._tree(path, self._timeout_s + wait_s)

    def _tree(self, path: str, timeout_s: float) -> tuple[Outcome, dict[str, Entry]]:
        try:
            reply = self._request("GET", path, timeout_s=timeout_s)
            if reply.status not in (200, 404):
                return _refused(reply), {}
            listed = json.loads(reply.body) if reply.status == 200 else []
            entries = {
                e["Key"].removeprefix(self._prefix): Entry(_text(e["Value"]), e["ModifyIndex"])
                for e in listed
            }
        except _ERRORS as error:
            return Outcome(type=FAIL, error=_named(error)), {}
        return Outcome(type=OK, modify_index=reply.index, age_s=reply.age_s), entries

    def commit(
        self, unchanged: Mapping[str, int], changes: Mapping[str, tuple[int, str]]
    ) -> Outcome:
        steps: list[dict[str, Any]] = [
            {"Verb": "check-index", "Key": key, "Index": index}
            if index
            else {"Verb": "check-not-exists", "Key": key}
            for key, index in unchanged.items()
            if key not in changes
        ]
        steps += [
            {"Verb": "cas", "Key": key, "Index": index, "Value": _packed(value)}
            for key, (index, value) in changes.items()
        ]
        return self._txn(steps)[0]

    def _txn(self, steps: list[dict[str, Any]]) -> tuple[Outcome, list[Any]]:
        steps = [step | {"Key": self._prefix + step["Key"]} for step in steps]
        body = json.dumps([{"KV": step} for step in steps]).encode()
        outcome, reply = self._send("PUT", "/v1/txn", body)
        if reply is None:
            return outcome, []
        if reply.status == 200:
            return Outcome(type=OK), json.loads(reply.body).get("Results") or []
        return _judged(reply), []

    def delete_tree(self, prefix: str) -> Outcome:
        """Delete all keys below a prefix."""
        return self._change("DELETE", f"{self._path(prefix)}?recurse", b"")

    def leader(self) -> str:
        try:
            reply = self._request("GET", "/v1/status/leader")
            return str(json.loads(reply.body)) if reply.status == 200 else ""
        except _ERRORS:
            return ""

    # locks

    def create_session(self, ttl_s: float) -> Outcome:
        body = json.dumps({"TTL": f"{ttl_s:g}s", "LockDelay": "0s", "Checks": []}).encode()
        outcome, reply = self._send("PUT", "/v1/session/create", body)
        if reply is None or reply.status != 200:
            return outcome if reply is None else _judged(reply)
        return Outcome(type=OK, value=str(json.loads(reply.body)["ID"]))

    def renew_session(self, session: str) -> Outcome:
        outcome, reply = self._send("PUT", f"/v1/session/renew/{session}", b"")
        if reply is None:
            return outcome
        return Outcome(type=OK) if reply.status == 200 else _judged(reply)

    def acquire(self, key: str, session: str) -> Outcome:
        step = {"Verb": "lock", "Key": key, "Value": _packed(session), "Session": session}
        outcome, results = self._txn([step])
        if outcome.type != OK:
            return outcome
        return Outcome(type=OK, value=results[0]["KV"]["LockIndex"])

    def release(self, key: str, session: str) -> Outcome:
        return self._change("PUT", f"{self._path(key)}?release={session}", b"")

    def set_guarded(self, lock: str, session: str, key: str, value: str) -> Outcome:
        check = {"Verb": "check-session", "Key": lock, "Session": session}
        outcome, results = self._txn([check, {"Verb": "set", "Key": key, "Value": _packed(value)}])
        if outcome.type != OK:
            return outcome
        return Outcome(type=OK, modify_index=results[-1]["KV"]["ModifyIndex"])

    # catalog

    def register(self, service: str, instance: str) -> Outcome:
        body = {
            "Node": instance,
            "Address": "192.0.2.1",
            "Service": {"Service": service, "ID": instance, "Port": 80},
        }
        return self._change("PUT", "/v1/catalog/register", json.dumps(body).encode())

    def deregister(self, instance: str) -> Outcome:
        body = json.dumps({"Node": instance}).encode()
        return self._change("PUT", "/v1/catalog/deregister", body)

    def instances(self, service: str, mode: str) -> Outcome:
        try:
            reply = self._request("GET", f"/v1/health/service/{quote(service)}{_query(mode)}")
            if reply.status != 200:
                return _refused(reply)
            names: list[Json] = [str(entry["Service"]["ID"]) for entry in json.loads(reply.body)]
        except _ERRORS as error:
            return Outcome(type=FAIL, error=_named(error))
        return Outcome(
            type=OK, value=sorted(names, key=str), modify_index=reply.index, age_s=reply.age_s
        )

    def instances_by_dns(self, service: str) -> Outcome:
        question = dns.message.make_query(f"{service}.service.consul.", dns.rdatatype.SRV)
        try:
            reply = dns.query.tcp(question, self._host, self._timeout_s, self._dns_port)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            return Outcome(type=FAIL, error=_named(error))
        if reply.rcode() not in (0, 3):
            return Outcome(type=FAIL, error=f"rcode {reply.rcode()}")
        targets = {str(record.target) for answer in reply.answer for record in answer}
        return Outcome(type=OK, value=[name.split(".")[0] for name in sorted(targets)])

    # the mesh

    def join_mesh(
        self, front: str, back: str, address: str, app_port: int, listener_port: int
    ) -> Outcome:
        behind = {"LocalServiceAddress": address, "LocalServicePort": app_port}
        upstream = {
            "DestinationName": back,
            "LocalBindAddress": address,
            "LocalBindPort": listener_port,
        }
        outcome = Outcome(type=OK)
        for name, proxy in ((back, behind), (front, {"Upstreams": [upstream]})):
            body = {
                "Name": name,
                "Address": address,
                "Port": app_port,
                "Connect": {"SidecarService": {"Proxy": proxy}},
            }
            outcome = self._put("/v1/agent/service/register", json.dumps(body).encode())
            if outcome.type != OK:
                break
        return outcome

    def intend(self, source: str, destination: str, allowed: bool) -> Outcome:
        path = f"/v1/connect/intentions/exact?source={source}&destination={destination}"
        action = {"Action": "allow" if allowed else "deny"}
        return self._change("PUT", path, json.dumps(action).encode())

    def intended(self, source: str, destination: str) -> Outcome:
        path = f"/v1/connect/intentions/check?source={source}&destination={destination}"
        try:
            reply = self._request("GET", f"{path}&consistent")
            if reply.status != 200:
                return _refused(reply)
            return Outcome(type=OK, value=bool(json.loads(reply.body)["Allowed"]))
        except _ERRORS as error:
            return Outcome(type=FAIL, error=_named(error))

    # the wire

    def _change(self, method: str, path: str, body: bytes) -> Outcome:
        outcome, reply = self._send(method, path, body)
        return outcome if reply is None else judge_change(reply.status, reply.body)

    def _put(self, path: str, body: bytes) -> Outcome:
        """A change whose reply has no body."""
        outcome, reply = self._send("PUT", path, body)
        if reply is None or reply.status == 200:
            return outcome
        return _judged(reply)

    def _send(self, method: str, path: str, body: bytes) -> tuple[Outcome, _Reply | None]:
        """Carry out a change; without a reply, the outcome says whether it may have happened."""
        connection = self._connection(self._timeout_s)
        try:
            connection.connect()
        except OSError as error:
            return Outcome(type=FAIL, error=_named(error)), None  # nothing was sent
        try:
            connection.request(method, path, body, self._headers)
            return Outcome(type=OK), _read(connection)
        except (OSError, http.client.HTTPException) as error:
            return Outcome(type=INFO, error=_named(error)), None
        finally:
            connection.close()

    def _request(self, method: str, path: str, *, timeout_s: float | None = None) -> _Reply:
        connection = self._kept or self._connection(timeout_s or self._timeout_s)
        self._kept = None
        try:
            connection.request(method, path, headers=self._headers)
            reply = _read(connection)
            if self._keeps:
                self._kept = connection
            return reply
        finally:
            if self._kept is not connection:
                connection.close()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout_s, context=self._tls
        )

    def _path(self, key: str) -> str:
        return f"/v1/kv/{quote(self._prefix + key)}"


def _read(connection: http.client.HTTPConnection) -> _Reply:
    response = connection.getresponse()
    age = response.headers.get("X-Consul-LastContact")
    known = response.headers.get("X-Consul-KnownLeader", "true") == "true"
    return _Reply(
        response.status,
        response.read(),
        int(response.headers.get("X-Consul-Index") or 0),
        int(age) / 1000 if age is not None and known else None,
    )


def judge_change(status: int, body: bytes) -> Outcome:
    """The outcome of a change from its HTTP reply. A server error is unknown unless its text
    promises that nothing happened."""
    text = _shown(body)
    if status == 200:
        if text.strip() == "true":
            return Outcome(type=OK)
        return Outcome(type=FAIL, error=f"answered {text.strip()}")
    return _judged(_Reply(status, body, 0, None))


def _judged(reply: _Reply) -> Outcome:
    text = _shown(reply.body)
    definite = 400 <= reply.status < 500 or any(words in text for words in DEFINITE_TEXTS)
    return Outcome(type=FAIL if definite else INFO, error=f"{reply.status} {text}")


def _refused(reply: _Reply) -> Outcome:
    return Outcome(type=FAIL, error=f"{reply.status} {_shown(reply.body)}")


def _query(mode: str, *flags: str) -> str:
    words = [*flags, *([] if mode in ("", "default") else [mode])]
    return f"?{'&'.join(words)}" if words else ""


def _text(value: str | None) -> str:
    return base64.b64decode(value or "").decode()


def _packed(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _shown(body: bytes) -> str:
    return body[:200].decode("utf-8", "replace")


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
