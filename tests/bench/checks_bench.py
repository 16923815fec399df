"""What health checks cost the agent that runs them: 2,000 HTTP checks, and 500 programs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from tests.e2e.cluster import AgentProcess, Cluster, cluster, cpu_share, fresh_address, resident_mb
from tests.waiting import eventually

SERVICES = 2000
INTERVAL_S = 10
SCRIPTS = 500
#: How long a share of a core is measured, in seconds: more than one round of all checks.
MEASURED_S = 20.0
PORT = 9998


def bench(folder: Path) -> None:
    """Both parts; prints a line for each."""
    with cluster(folder) as agents:
        _http(agents)
    with cluster(folder / "scripts") as agents:
        _scripts(agents)


def _http(agents: Cluster) -> None:
    application = fresh_address()
    command = [sys.executable, "-m", "tests.bench.checks_bench", application]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        server = agents.servers(1)[0]
        services = [
            {
                "name": f"app{number}",
                "port": PORT,
                "check": {"http": f"http://{application}:{PORT}/", "interval": f"{INTERVAL_S}s"},
            }
            for number in range(SERVICES)
        ]
        agent = _with_config(agents, "many", {"services": services})
        eventually(
            lambda: _passing(server) == SERVICES, within_s=180, what="all checks are passing"
        )
        assert agent.process is not None
        pid = agent.process.pid
        share = cpu_share(pid, MEASURED_S)
        print(
            f"checks: {SERVICES} services with an HTTP check every {INTERVAL_S} s: "
            f"{share:.1%} of a core, {resident_mb(pid):.0f} MB",
            flush=True,
        )
    finally:
        process.kill()
        process.wait()


def _scripts(agents: Cluster) -> None:
    agents.servers(1)
    checks = [
        {"name": f"script{number}", "args": ["sleep", "0.5"], "interval": "5s"}
        for number in range(SCRIPTS)
    ]
    agent = _with_config(agents, "many", {"checks": checks}, "-enable-local-script-checks")
    assert agent.process is not None
    pid = agent.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    seen = [0]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            seen.append(len(children.read_text().split()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        share = cpu_share(pid, MEASURED_S)
    finally:
        over.set()
        watcher.join()
    print(
        f"checks: {SCRIPTS} programs of half a second every 5 s: "
        f"at most {max(seen)} at once, {share:.1%} of a core, {resident_mb(pid):.0f} MB",
        flush=True,
    )


def _with_config(agents: Cluster, name: str, config: object, *flags: str) -> AgentProcess:
    path = agents.folder / f"{name}.json"
    path.write_text(json.dumps(config))
    return agents.add(name, f"-config-file={path}", *flags).ready(60)


def _passing(server: AgentProcess) -> int:
    found = server.get("/v1/health/state/passing").json
    return sum(check["Node"] == "many" and check["ServiceID"] != "" for check in found)


def _serve(address: str) -> None:
    """An application that is always well, in a process of its own."""
    import asyncio

    class Well(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n")
            self.transport.close()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.create_server(Well, address, PORT, backlog=1024)
        print("ready", flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


if __name__ == "__main__":
    _serve(sys.argv[1])
