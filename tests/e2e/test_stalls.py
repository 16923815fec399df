"""A host that stands still is no reason for its checks to turn critical."""

from __future__ import annotations

import http.client
import http.server
import signal
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(120)]

STALL_S = 5.0
#: Of each kind; TTLs are shorter than the stall, and so are timeouts.
EACH = 50


class _Impatient(http.server.BaseHTTPRequestHandler):
    """Answers well, but hangs up on a client that does not come to the point."""

    timeout = 1.0
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def application() -> Iterator[str]:
    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 256
        daemon_threads = True

    with Server(("127.0.0.1", 0), _Impatient) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Reporter:
    """The applications behind the TTL checks: each reports once a second, and tries again."""

    def __init__(self, agent: AgentProcess) -> None:
        self._agent = agent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._report)
        self.rounds = 0

    def _report(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection(self._agent.address, 8500, timeout=30)
            try:
                for number in range(EACH):
                    connection.request("PUT", f"/v1/agent/check/pass/ttl{number}")
                    connection.getresponse().read()
            except OSError:
                continue
            finally:
                connection.close()
            self.rounds += 1
            self._stop.wait(0.5)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


def register(agent: AgentProcess, application: str) -> None:
    for number in range(EACH):
        for body in (
            {"Name": f"ttl{number}", "TTL": "3s", "Status": "passing"},
            {"Name": f"http{number}", "HTTP": f"http://{application}/", "Timeout": "2s"},
            {"Name": f"tcp{number}", "TCP": application, "Timeout": "2s"},
            {"Name": f"script{number}", "Args": ["sleep", "0.1"], "Timeout": "4s"},
        ):
            if "TTL" not in body:
                body |= {"Interval": "2s", "Status": "passing"}
            agent.put("/v1/agent/check/register", body)


def test_no_check_turns_critical_because_its_agent_stood_still(
    fresh: Cluster, application: str
) -> None:
    agent = fresh.add("dev", "-dev", "-enable-script-checks").ready()
    with Reporter(agent) as reporter:
        register(agent, application)
        eventually(lambda: reporter.rounds >= 2, within_s=30)
        eventually(lambda: agent.get("/v1/explain/check/http7").json["Transitions"], within_s=30)
        agent.signal(signal.SIGSTOP)
        time.sleep(STALL_S)  # the stall itself, not a wait for anything
        agent.signal(signal.SIGCONT)
        rounds = reporter.rounds
        eventually(lambda: reporter.rounds >= rounds + 3, within_s=60)
        states = {key: c["Status"] for key, c in agent.get("/v1/agent/checks").json.items()}
    assert len(states) == 4 * EACH and set(states.values()) == {"passing"}
    assert "event loop stood still" in agent.log
    assert "check is now critical" not in agent.log
