"""etcd's JSON gateway (v3): registers, trees and transactions, to compare with."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from typing import Any

from jepsen_lite.client import Entry, Outcome
from jepsen_lite.history import FAIL, INFO, OK

_ERRORS = (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError)


class EtcdClient:
    """Speaks to one member; "stale" is etcd's serializable read, the others are linearizable."""

    def __init__(self, host: str, port: int, *, timeout_s: float = 5.0) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    def write(self, key: str, value: str) -> Outcome:
        return self._change("/v3/kv/put", {"key": _packed(key), "value": _packed(value)})

    def compare_and_set(self, key: str, modify_index: int, value: str) -> Outcome:
        return self.commit({}, {key: (modify_index, value)})

    def read(self, key: str, mode: str = "consistent") -> Outcome:
        outcome, entries = self._range({"key": _packed(key)}, mode)
        entry = entries.get(key)
        if outcome.type != OK or entry is None:
            return outcome
        return Outcome(type=OK, value=entry.value, modify_index=entry.modify_index)

    def read_tree(self, prefix: str, mode: str = "consistent") -> tuple[Outcome, dict[str, Entry]]:
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return self._range({"key": _packed(prefix), "range_end": _packed(end)}, mode)

    def commit(
        self, unchanged: Mapping[str, int], changes: Mapping[str, tuple[int, str]]
    ) -> Outcome:
        indexes = dict(unchanged) | {key: index for key, (index, _) in changes.items()}
        body = {
            "compare": [
                {"target": "MOD", "key": _packed(key), "mod_revision": str(index)}
                for key, index in indexes.items()
            ],
            "success": [
                {"requestPut": {"key": _packed(key), "value": _packed(value)}}
                for key, (_, value) in changes.items()
            ],
        }
        outcome, reply = self._post("/v3/kv/txn", body)
        if outcome.type == OK and not reply.get("succeeded", False):
            return Outcome(type=FAIL, error="compare failed")
        return outcome

    def leader(self) -> str:
        """The member id of the leader."""
        outcome, reply = self._post("/v3/maintenance/status", {})
        return str(reply.get("leader", "")) if outcome.type == OK else ""

    def member(self) -> str:
        """The id of the member that is asked."""
        outcome, reply = self._post("/v3/maintenance/status", {})
        return str(reply["header"]["member_id"]) if outcome.type == OK else ""

    def _range(self, body: dict[str, Any], mode: str) -> tuple[Outcome, dict[str, Entry]]:
        if mode == "stale":
            body = body | {"serializable": True}
        outcome, reply = self._post("/v3/kv/range", body)
        if outcome.type != OK:
            return Outcome(type=FAIL, error=outcome.error), {}
        entries = {
            _text(kv["key"]): Entry(_text(kv.get("value", "")), int(kv["mod_revision"]))
            for kv in reply.get("kvs", [])
        }
        return outcome, entries

    def _change(self, path: str, body: dict[str, Any]) -> Outcome:
        return self._post(path, body)[0]

    def _post(self, path: str, body: dict[str, Any]) -> tuple[Outcome, dict[str, Any]]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.connect()
        except OSError as error:
            return Outcome(type=FAIL, error=f"{type(error).__name__}: {error}"), {}
        try:
            connection.request("POST", path, json.dumps(body).encode())
            response = connection.getresponse()
            raw = response.read()
            if response.status == 200:
                return Outcome(type=OK), json.loads(raw)
            text = raw[:200].decode("utf-8", "replace")
            return Outcome(type=INFO, error=f"{response.status} {text}"), {}
        except _ERRORS as error:
            return Outcome(type=INFO, error=f"{type(error).__name__}: {error}"), {}
        finally:
            connection.close()


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(raw: str) -> str:
    return base64.b64decode(raw).decode()
