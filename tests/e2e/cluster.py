"""Starts and stops agents as a user would: processes with flags, each on a loopback address of its
own with the default ports, so that nothing collides and tools find what they expect."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rdatatype

from tests.e2e import forked
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
LICTOR = Path(sys.executable).with_name("lictor")

#: Agents keep their byte code as they do on a user's machine, whatever this test run does.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

#: Agents are forked from a process that has the program loaded (tests/e2e/conftest.py).
FORKING = False

_hosts = itertools.count()


def fresh_address() -> str:
    """A loopback address that no other test of this machine uses."""
    number = next(_hosts)
    process = os.getpid()
    return f"127.{1 + process % 200}.{process // 200 % 250}.{2 + number % 250}"


class Response:
    """Status, headers (keys in lower case) and body of an HTTP answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)

    @property
    def index(self) -> int:
        """What to block from."""
        return int(self.headers["x-consul-index"])

    def __repr__(self) -> str:
        return f"{self.status} {self.body[:300]!r}"


class AgentProcess:
    """One agent on a host (loopback address) of its own."""

    def __init__(self, name: str, folder: Path, *flags: str, address: str = "") -> None:
        self.name = name
        self.address = address or fresh_address()
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.flags = flags
        self.process: subprocess.Popen[bytes] | forked.Forked | None = None

    def start(self) -> AgentProcess:
        """Start it; does not wait."""
        command = [
            str(LICTOR),
            "agent",
            f"-node={self.name}",
            f"-bind={self.address}",
            f"-client={self.address}",
            f"-data-dir={self.folder / 'data'}",
            *self.flags,
        ]
        with (self.folder / "log").open("ab") as log:
            if FORKING:
                self.process = forked.start(command, ENVIRONMENT, log.fileno())
                return self
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=ENVIRONMENT,
            )
        return self

    @property
    def log(self) -> str:
        """Everything it has printed, over all its starts."""
        return (self.folder / "log").read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal to the agent itself."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """kill -9 of the host: the agent and everything it started."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def wait(self, within_s: float = 60.0) -> int:
        """Its exit status."""
        assert self.process is not None
        return self.process.wait(within_s)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout_s: float = 15.0,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """One HTTP request; ``body`` is sent as it is when it is bytes, else as JSON."""
        connection = http.client.HTTPConnection(self.address, 8500, timeout=timeout_s)
        try:
            raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, raw, headers or {})
            answer = connection.getresponse()
            names = {key.lower(): value for key, value in answer.getheaders()}
            return Response(answer.status, names, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Response:
        """GET."""
        return self.request("GET", path, **options)

    def put(self, path: str, body: object = None, **options: Any) -> Response:
        """PUT; must work."""
        answer = self.request("PUT", path, body, **options)
        assert answer.status == 200, answer
        return answer

    def dns(self, name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
        """The answer section as texts without the name and TTL."""
        question = dns.message.make_query(name, kind)
        ask = dns.query.tcp if tcp else dns.query.udp
        answer = ask(question, self.address, port=8600, timeout=3)
        return sorted(str(rdata) for rrset in answer.answer for rdata in rrset)

    def cli(self, *words: str, expect: int = 0, timeout_s: float = 60) -> str:
        """Run the command line against this agent; gives what it printed."""
        done = subprocess.run(
            [str(LICTOR), *words],
            env=os.environ | {"CONSUL_HTTP_ADDR": f"{self.address}:8500"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == expect, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def leader(self) -> str:
        """The leader as this agent knows it, "" for none."""
        return str(self.get("/v1/status/leader").json)

    def ready(self, within_s: float = 60.0) -> AgentProcess:
        """Wait until it answers and knows a leader."""
        eventually(self.leader, within_s=within_s, what=f"{self.name} knows a leader")
        return self


class Cluster:
    """Some servers and client agents of one datacenter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agents: list[AgentProcess] = []

    def add(self, name: str, *flags: str) -> AgentProcess:
        """Start one more agent, told to join the first one."""
        join = [f"-retry-join={self.agents[0].address}"] if self.agents else []
        agent = AgentProcess(name, self.folder, *flags, *join)
        self.agents.append(agent)
        return agent.start()

    def servers(self, count: int) -> list[AgentProcess]:
        """Start that many servers that expect each other, and wait until they are ready."""
        started = [
            self.add(f"s{i}", "-server", f"-bootstrap-expect={count}") for i in range(1, count + 1)
        ]
        for agent in started:
            agent.ready()
        return started

    def by_leader(self) -> AgentProcess:
        """The agent that leads."""
        address = eventually(self.agents[0].leader, within_s=10)
        return next(a for a in self.agents if address == f"{a.address}:8300")

    def log_ends(self) -> list[tuple[str, str]]:
        """The last lines of each agent, under its name and address."""
        return [
            (f"{agent.name} {agent.address}", "\n".join(agent.log.splitlines()[-40:]))
            for agent in self.agents
        ]

    def stop(self) -> None:
        """Kill whatever still runs."""
        for agent in self.agents:
            if agent.process is not None and agent.process.poll() is None:
                agent.kill()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster that leaves no process behind, and prints the logs' ends when a test fails."""
    made = Cluster(folder)
    try:
        yield made
    except BaseException:
        for agent, end in made.log_ends():
            print(f"--- {agent}\n{end}")
        raise
    finally:
        made.stop()


def resident_mb(pid: int) -> float:
    """Resident memory of a process in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError("no VmRSS")


def cpu_share(pid: int, seconds: float) -> float:
    """Share of one core that a process uses over ``seconds``: a measurement, so it must last."""

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds
