"""A watch through a client agent sees every change, also while the servers elect another leader."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.cluster import AgentProcess, cluster

pytestmark = pytest.mark.e2e

WAIT_S = 30.0


class Watch:
    """A watch as a plain client holds it."""

    def __init__(self, agent: AgentProcess, *reads: str, last_id: str = "") -> None:
        self._connection = http.client.HTTPConnection(agent.address, 8500, timeout=WAIT_S)
        query = "&".join(f"watch={quote(read)}" for read in reads)
        headers = {"Last-Event-ID": last_id} if last_id else {}
        self._connection.request("GET", f"/v1/watch?{query}", headers=headers)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        self.last_id = ""

    def events(self) -> Iterator[tuple[str, Any]]:
        """What is watched, and its new body; errors on the way are not told."""
        event = ""
        for raw in self._answer:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                event = value
            elif name == "data" and event == "change":
                data = json.loads(value)
                yield data["Watch"], data["Body"]

    def close(self) -> None:
        self._connection.close()


def test_a_watch_goes_on_over_an_election_and_is_taken_up_again(tmp_path: Path) -> None:
    with cluster(tmp_path) as agents:
        agents.servers(3)
        client = agents.add("c1").ready()
        client.put("/v1/kv/x", b"1")
        watch = Watch(client, "kv/x?raw", "health/service/web")
        events = watch.events()
        assert dict(next(events) for _ in range(2)) == {"kv/x?raw": "1", "health/service/web": []}
        leader = agents.by_leader()
        leader.kill()
        client.put("/v1/kv/x", b"2", timeout_s=WAIT_S)
        assert next(events) == ("kv/x?raw", "2")
        watch.close()
        client.put("/v1/agent/service/register", {"Name": "web"}, timeout_s=WAIT_S)
        client.put("/v1/kv/x", b"3", timeout_s=WAIT_S)
        again = Watch(client, "kv/x?raw", "health/service/web", last_id=watch.last_id)
        more = again.events()
        missed = dict(next(more) for _ in range(2))
        assert missed["kv/x?raw"] == "3"
        assert [each["Service"]["ID"] for each in missed["health/service/web"]] == ["web"]
        again.close()
