"""What access control costs: the same requests to two servers, one of which looks at tokens.

1,000 policies, and 10,000 tokens of two of them each; who asks is every token in turn. Both servers
stand at the same time and are loaded one after the other.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.http_bench import INSTANCES, VALUE_BYTES, load
from tests.bench.load import Rate, http_request
from tests.bench.session_bench import processor_s
from tests.bench.table import Rounds, row
from tests.e2e.cluster import AgentProcess, cluster
from tests.waiting import eventually

POLICIES = 1000
TOKENS = 10_000
SERVICES = 1000
#: Connections that fill the state.
FILLING = 8
MANAGEMENT = "4b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d21"


def rules(number: int) -> str:
    """What a team may: its own things, and whatever is measured."""
    return (
        f'key_prefix "team-{number}/" {{ policy = "write" }}\n'
        f'service_prefix "team-{number}-" {{ policy = "write" }}\n'
        'key_prefix "bench/" { policy = "write" }\n'
        'service_prefix "" { policy = "read" }\n'
        'node_prefix "" { policy = "read" }\n'
    )


def put_all(agent: AgentProcess, calls: Sequence[tuple[str, object]]) -> list[Any]:
    """Send them over a few connections; gives the answers in the same order."""
    answers: list[Any] = [None] * len(calls)

    def send(start: int) -> None:
        connection = http.client.HTTPConnection(agent.address, 8500, timeout=30)
        for at in range(start, len(calls), FILLING):
            path, body = calls[at]
            connection.request("PUT", path, json.dumps(body), {"X-Consul-Token": MANAGEMENT})
            answer = connection.getresponse()
            raw = answer.read()
            assert answer.status == 200, (path, answer.status, raw)
            answers[at] = json.loads(raw)
        connection.close()

    threads = [threading.Thread(target=send, args=(start,)) for start in range(FILLING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def fill(agent: AgentProcess) -> None:
    """What is asked for."""
    calls: list[tuple[str, object]] = [(f"/v1/kv/bench/{number}", "v") for number in range(1000)]
    for number in range(INSTANCES):
        body = {
            "Node": f"n{number}",
            "Address": f"10.0.0.{number + 1}",
            "Service": {"Service": "web", "Port": 80},
            "Check": {"Name": "up", "Status": "passing", "ServiceID": "web"},
        }
        calls.append(("/v1/catalog/register", body))
    put_all(agent, calls)
    more: list[tuple[str, object]] = []
    for number in range(SERVICES - 1):
        service = {"Service": f"s{number}", "Tags": ["a", f"t{number % 7}"]}
        registration = {
            "Node": f"n{number % INSTANCES}", "SkipNodeUpdate": True, "Service": service
        }  # fmt: skip
        more.append(("/v1/catalog/register", registration))
    put_all(agent, more)


def make_tokens(agent: AgentProcess) -> list[str]:
    """All policies, and the secrets of all tokens."""
    named = [{"Name": f"team-{number}", "Rules": rules(number)} for number in range(POLICIES)]
    policies = [made["ID"] for made in put_all(agent, [("/v1/acl/policy", one) for one in named])]
    wanted = [
        {"Policies": [{"ID": policies[n % POLICIES]}, {"ID": policies[(n * 7 + 1) % POLICIES]}]}
        for n in range(TOKENS)
    ]
    return [made["SecretID"] for made in put_all(agent, [("/v1/acl/token", one) for one in wanted])]


def know(agent: AgentProcess, secrets: Sequence[str]) -> None:
    """Have every token looked up."""
    connection = http.client.HTTPConnection(agent.address, 8500, timeout=30)
    for secret in secrets:
        connection.request("GET", "/v1/kv/bench/0?stale", None, {"X-Consul-Token": secret})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
    connection.close()


def value(number: int) -> bytes:
    """What is written, another each time."""
    return b"%08d" % number * (VALUE_BYTES // 8)


def with_token(request: bytes, secret: str) -> bytes:
    """A request that shows a token."""
    line, _, rest = request.partition(b"\r\n")
    return b"%s\r\nX-Consul-Token: %s\r\n%s" % (line, secret.encode(), rest)


def bench(folder: Path, rounds: Rounds) -> None:
    """A line for each kind of request; the ratio is that of the server that looks at tokens."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "acl.json"
    acl = {
        "enabled": True,
        "default_policy": "deny",
        "tokens": {"initial_management": MANAGEMENT, "agent": MANAGEMENT},
    }
    config.write_text(json.dumps({"acl": acl}))
    with cluster(folder / "open") as first, cluster(folder / "guarded") as second:
        plain = first.add("s1", "-server", "-bootstrap-expect=1").ready()
        flag = f"-config-file={config}"
        guarded = second.add("s1", "-server", "-bootstrap-expect=1", flag).ready()
        header = {"X-Consul-Token": MANAGEMENT}
        eventually(lambda: guarded.get("/v1/acl/tokens", headers=header).status == 200, within_s=20)
        for agent in (plain, guarded):
            fill(agent)
        secrets = make_tokens(guarded)
        # A token is looked up once after each change of access control; that is not measured.
        know(guarded, secrets)
        requests: dict[str, Callable[[int], tuple[str, str, bytes]]] = {
            "KV PUT": lambda i: ("PUT", f"/v1/kv/bench/{i % 1000}", value(i)),
            "KV GET, default": lambda i: ("GET", f"/v1/kv/bench/{i % 100}", b""),
            "KV GET, stale": lambda i: ("GET", f"/v1/kv/bench/{i % 100}?stale", b""),
            "health?passing, 20 instances": lambda i: (
                "GET", "/v1/health/service/web?passing", b""
            ),
            "catalog/services, 1,000 services": lambda i: ("GET", "/v1/catalog/services", b""),
        }  # fmt: skip
        for name, make in requests.items():
            for label, shown in (("one token", secrets[:1]), ("all in turn", secrets)):
                compare(f"{name}, {label}", plain, guarded, make, shown, rounds)


def compare(
    name: str,
    plain: AgentProcess,
    guarded: AgentProcess,
    make: Callable[[int], tuple[str, str, bytes]],
    secrets: Sequence[str],
    rounds: Rounds,
) -> None:
    """Load one and the other."""

    def asks(agent: AgentProcess, i: int) -> bytes:
        method, path, body = make(i)
        secret = secrets[i % len(secrets)]
        return with_token(http_request(method, path, agent.address, body), secret)

    def measured(agent: AgentProcess, requests: Sequence[bytes]) -> Rate:
        before = processor_s(agent)
        rate = load(agent, requests, rounds.seconds)
        return replace(rate, cpu_us=((processor_s(agent) - before) / max(1, rate.count) * 1e6,))

    works = [
        partial(measured, agent, [asks(agent, i) for i in range(TOKENS)])
        for agent in (plain, guarded)
    ]
    taken: list[tuple[Rate, Rate]] = []
    for _ in range(rounds.count):
        low, rate = (work() for work in works)
        taken.append((low, rate))
    ratio = median(rate.per_second / low.per_second for low, rate in taken)
    without = median(low.per_second for low, _ in taken)
    # What a request takes of the server's processor says the same on a loaded machine.
    of_plain, of_guarded = (median(pair[at].cpu_us[0] for pair in taken) for at in (0, 1))
    cpu = f"{of_guarded:.0f} us of cpu, {of_plain:.0f} without: {of_plain / of_guarded:.2f}"
    row(name, [rate for _, rate in taken], ratio, f"{without:.0f} without; {cpu}")
