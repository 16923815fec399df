"""Servers are restarted and killed under a load through client agents."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(240)]
WHOLE_PROGRAM = True  # a server is away for as long as the installed program takes to start


#: Between two requests of a user. Eighteen of them without it take both cores from the servers
#: that start, so the test takes longer and meets no more requests at any moment of a restart.
PAUSE_S = 0.04


@dataclass(frozen=True)
class Failure:
    """A request that was not answered with 200; ``began`` and ``ended`` are monotonic times."""

    what: str
    began: float
    ended: float
    status: int
    text: str
    applied: str


class User:
    """Asks one agent the same kind of thing over and over, on a connection that stays."""

    def __init__(self, agent: AgentProcess, name: str, request: Callable[[int], tuple]) -> None:
        self._agent = agent
        self._name = name
        self._request = request
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)
        self.answered = 0
        self.failures: list[Failure] = []
        self.slowest_s = 0.0

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._agent.address, 8500, timeout=30)
        number = 0
        while not self._stop.is_set():
            number += 1
            method, path, body = self._request(number)
            began = time.monotonic()
            try:
                connection.request(method, path, None if body is None else json.dumps(body))
                answer = connection.getresponse()
                text = answer.read().decode()
                status, applied = answer.status, answer.getheader("X-Lictor-Applied", "")
            except OSError as error:
                connection.close()
                status, text, applied = 0, repr(error), ""
            ended = time.monotonic()
            self.slowest_s = max(self.slowest_s, ended - began)
            if status == 200:
                self.answered += 1
            else:
                self.failures.append(
                    Failure(f"{method} {path}", began, ended, status, text, applied)
                )
            self._stop.wait(PAUSE_S)
        connection.close()

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), self._name


def users_of(agent: AgentProcess) -> list[User]:
    name = agent.name

    def register(number: int) -> tuple:
        body = {"Name": f"app-{name}", "Port": 1000 + number % 1000}
        return "PUT", "/v1/agent/service/register", body

    def transaction(number: int) -> tuple:
        verb = {"Verb": "set", "Key": f"txn/{name}/{number}", "Value": "eA=="}
        return "PUT", "/v1/txn", [{"KV": verb}]

    return [
        User(agent, f"put {name}", lambda n: ("PUT", f"/v1/kv/load/{name}/{n}", n)),
        User(agent, f"get {name}", lambda n: ("GET", "/v1/kv/fixed", None)),
        User(agent, f"stale {name}", lambda n: ("GET", "/v1/kv/fixed?stale", None)),
        User(agent, f"consistent {name}", lambda n: ("GET", "/v1/kv/fixed?consistent", None)),
        User(agent, f"health {name}", lambda n: ("GET", "/v1/health/service/fixed", None)),
        User(agent, f"catalog {name}", lambda n: ("GET", "/v1/catalog/services", None)),
        User(agent, f"register {name}", register),
        User(agent, f"txn {name}", transaction),
        User(
            agent,
            f"session {name}",
            lambda n: ("PUT", "/v1/session/create", {"TTL": "600s", "Node": agent.name}),
        ),
    ]


@contextmanager
def load(*agents: AgentProcess) -> Iterator[list[User]]:
    users = [user for agent in agents for user in users_of(agent)]
    for user in users:
        user.start()
    try:
        eventually(lambda: all(user.answered > 20 for user in users), within_s=30)
        yield users
        seen = [user.answered for user in users]
        eventually(
            lambda: all(u.answered > s + 20 for u, s in zip(users, seen, strict=True)),
            within_s=30,
        )
    finally:
        for user in users:
            user.end()


def tell(users: list[User]) -> None:
    """For those who want figures (pytest -s)."""
    failures = [failure for user in users for failure in user.failures]
    print(
        f"{sum(user.answered for user in users)} requests answered, {len(failures)} failed "
        f"({sum(f.applied == 'maybe' for f in failures)} perhaps done), "
        f"the slowest took {max(user.slowest_s for user in users):.2f} s"
    )


def healthy(agents: list[AgentProcess]) -> bool:
    """As an operator looks before the next server: all there, all well, all caught up, and one may
    go. One that was away for so long that it was cleaned up is no voter for its first 10 s."""
    found = agents[0].get("/v1/operator/autopilot/health").json
    return (bool(found["Healthy"]), len(found["Servers"]), found["FailureTolerance"]) == (
        True,
        3,
        1,
    )


@pytest.fixture
def served(fresh: Cluster) -> Cluster:
    servers = fresh.servers(3)
    for name in ("c1", "c2"):
        fresh.add(name).ready()
    client = fresh.agents[3]
    client.put("/v1/kv/fixed", b"value")
    client.put("/v1/agent/service/register", {"Name": "fixed", "Port": 80})
    eventually(lambda: healthy(servers), within_s=60)
    return fresh


def test_a_rolling_restart_of_the_servers_fails_no_request(served: Cluster) -> None:
    servers, clients = served.agents[:3], served.agents[3:5]
    with load(*clients) as users:
        for server in servers:
            server.signal(signal.SIGTERM)
            server.wait()
            server.start()
            others = [s for s in servers if s is not server]
            server.ready(60)
            eventually(lambda others=others: healthy(others), within_s=60)
    tell(users)
    failures = [failure for user in users for failure in user.failures]
    assert failures == [], failures[:5]
    assert max(user.slowest_s for user in users) < 7.0


def test_only_requests_in_flight_fail_when_the_leader_is_killed(served: Cluster) -> None:
    servers, clients = served.agents[:3], served.agents[3:5]
    with load(*clients) as users:
        leader = next(s for s in servers if f"{s.address}:8300" == clients[0].leader())
        leader.kill()
        died = time.monotonic()
    tell(users)
    for failure in (failure for user in users for failure in user.failures):
        assert failure.began <= died + 0.1, failure
        assert failure.status == 500 and failure.applied in {"no", "maybe"}, failure
    if not any(user.failures for user in users):
        assert max(user.slowest_s for user in users) < 7.0


@pytest.mark.long
def test_a_client_answers_from_its_cache_while_all_servers_are_away(served: Cluster) -> None:
    servers, client = served.agents[:3], served.agents[3]
    path = "/v1/health/service/fixed?cached"
    first = client.get(path)
    assert (first.headers["x-cache"], [e["Service"]["Port"] for e in first.json]) == ("MISS", [80])
    client.put("/v1/agent/service/register", {"Name": "fixed", "Port": 81})
    fresh = eventually(
        lambda: (a := client.get(path)).json[0]["Service"]["Port"] == 81 and a, within_s=10
    )
    assert (fresh.headers["x-cache"], fresh.headers["age"]) == ("HIT", "0")
    roots = "/v1/agent/connect/ca/roots"
    assert client.get(roots).headers["x-cache"] == "MISS"
    for server in servers:
        server.kill()
    old = eventually(lambda: int((a := client.get(path)).headers["age"]) >= 2 and a, within_s=60)
    assert old.headers["x-cache"] == "HIT" and old.json[0]["Service"]["Port"] == 81
    watched = client.get(f"{path}&index={old.index}&wait=100ms")
    assert watched.status == 200 and watched.index == old.index and int(watched.headers["age"]) >= 2
    refused = client.get(path, headers={"Cache-Control": "max-age=0"})
    assert refused.status == 500
    accepted = {"Cache-Control": "max-age=0, stale-if-error=600"}
    assert client.get(path, headers=accepted).headers["x-cache"] == "HIT"
    assert "fixed" in client.get("/v1/agent/services").json
    kept = client.get(roots)
    assert (kept.headers["x-cache"], len(kept.json["Roots"])) == ("HIT", 1)
    for server in servers:
        server.start()
    client.ready(60)
    client.put("/v1/agent/service/register", {"Name": "fixed", "Port": 82})
    back = eventually(
        lambda: (a := client.get(path)).json[0]["Service"]["Port"] == 82 and a, within_s=30
    )
    assert (back.headers["x-cache"], back.headers["age"]) == ("HIT", "0")
