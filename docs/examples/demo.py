"""``make demo``: a whole small datacenter on this machine, shown step by step.

Three servers and two client agents, each on a loopback address of its own, two services with
their sidecars, an intention, and a host that dies. Every step says what is expected; the program
ends with status 1 if anything else happens. It stops what it started and removes its files.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

LICTOR = Path(sys.executable).with_name("lictor")
SERVERS = {f"server-{i}": f"127.0.0.{10 + i}" for i in (1, 2, 3)}
CLIENTS = {"web-host": "127.0.0.21", "db-host": "127.0.0.22"}
HOSTS = SERVERS | CLIENTS
DB_PORT = 5432
UPSTREAM_PORT = 15432
DIED_WITHIN_S = 15.0


class Unexpected(Exception):
    """A step did not end as it should."""


def say(text: str) -> None:
    """A heading."""
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def expect(what: str, look: Callable[[], object], *, within_s: float) -> float:
    """Wait until ``look`` gives something true; says how long that took."""
    started = time.monotonic()
    last: object = None
    while time.monotonic() - started < within_s:
        try:
            last = look()
        except (OSError, ValueError, LookupError) as error:
            last = error
        else:
            if last:
                took = time.monotonic() - started
                print(f"   ok: {what} ({took:.2f} s)", flush=True)
                return took
        time.sleep(0.05)
    raise Unexpected(f"{what}: not within {within_s:.0f} s, last seen {last!r}")


def http(host: str, path: str, body: object = None, method: str = "GET") -> object:
    """One request to an agent's HTTP API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{HOSTS[host]}:8500{path}", data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def lictor(host: str, *words: str) -> str:
    """Run the command line against an agent and show it."""
    print(f"   $ lictor {' '.join(words)}")
    done = subprocess.run(
        [str(LICTOR), *words],
        env=os.environ | {"CONSUL_HTTP_ADDR": f"{HOSTS[host]}:8500"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    printed = (done.stdout + done.stderr).rstrip()
    if printed:
        print("\n".join("   " + line for line in printed.splitlines()), flush=True)
    return printed


def lookup(host: str, name: str) -> list[str]:
    """Addresses of a name from an agent's DNS."""
    import dns.message
    import dns.query

    answer = dns.query.udp(dns.message.make_query(name, "A"), HOSTS[host], port=8600, timeout=3)
    return sorted(str(rdata) for rrset in answer.answer for rdata in rrset)


def show_dig(host: str, name: str) -> None:
    """What a user would see, with dig where there is one."""
    if shutil.which("dig") is None:
        print(f"   (no dig here) {name} -> {lookup(host, name)}")
        return
    command = ["dig", "+noall", "+answer", "-p", "8600", f"@{HOSTS[host]}", name]
    print("   $ " + " ".join(command))
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    print("\n".join("   " + line for line in done.stdout.strip().splitlines()), flush=True)


class Database(socketserver.BaseRequestHandler):
    """The sample application: says who it is for every line it gets."""

    def handle(self) -> None:
        """Answer until the other side is done."""
        while line := self.request.recv(1000):
            self.request.sendall(b"db says: " + line)


def start_database() -> socketserver.ThreadingTCPServer:
    """The application behind the sidecar of db."""

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    server = Server((CLIENTS["db-host"], DB_PORT), Database)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def call_db() -> str:
    """What the web application does: talk to its local upstream port. "" when it is refused."""
    address = (CLIENTS["web-host"], UPSTREAM_PORT)
    with contextlib.suppress(ConnectionError), socket.create_connection(address, 3) as connection:
        connection.sendall(b"hello")
        return connection.recv(1000).decode()
    return ""


class Datacenter:
    """The agents of the demo."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *flags: str) -> None:
        """Start an agent in a process group of its own, so that a whole host can die."""
        folder = self._folder / name
        folder.mkdir()
        command = [str(LICTOR), "agent", f"-node={name}", f"-bind={HOSTS[name]}"]
        command += [f"-client={HOSTS[name]}", f"-data-dir={folder / 'data'}", *flags]
        command += [f"-retry-join={address}" for address in SERVERS.values()]
        with (folder / "log").open("wb") as log:
            self._running[name] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """kill -9 of everything on a host."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def stop(self) -> None:
        """End whatever runs."""
        for name in list(self._running):
            self.kill(name)

    def show_logs(self) -> None:
        """The ends of all logs, for when something went wrong."""
        for name in HOSTS:
            log = self._folder / name / "log"
            if log.exists():
                print(f"--- {name}\n" + "\n".join(log.read_text().splitlines()[-25:]))


def start_everything(datacenter: Datacenter) -> None:
    """Five agents."""
    say("Three servers and two client agents")
    for name in SERVERS:
        datacenter.start(name, "-server", "-bootstrap-expect=3")
    for name in CLIENTS:
        datacenter.start(name)
    for name in HOSTS:
        expect(
            f"{name} knows a leader",
            lambda name=name: http(name, "/v1/status/leader"),
            within_s=20,
        )
    expect(
        "everybody knows everybody",
        lambda: all(len(http(n, "/v1/agent/members")) == len(HOSTS) for n in HOSTS),
        within_s=10,
    )
    lictor("web-host", "members")
    lictor("web-host", "operator", "raft", "list-peers")


def register_services() -> None:
    """Two services with sidecars; web has db as an upstream."""
    say("Two services register with their own agents, and ask for sidecars")
    sidecar = {
        "Proxy": {
            "Upstreams": [
                {
                    "DestinationName": "db",
                    "LocalBindAddress": CLIENTS["web-host"],
                    "LocalBindPort": UPSTREAM_PORT,
                }
            ]
        }
    }
    web = {"Name": "web", "Port": 8080, "Connect": {"SidecarService": sidecar}}
    app = {"LocalServiceAddress": CLIENTS["db-host"]}
    db = {
        "Name": "db",
        "Port": DB_PORT,
        "Check": {"TCP": f"{CLIENTS['db-host']}:{DB_PORT}", "Interval": "1s"},
        "Connect": {"SidecarService": {"Proxy": app}},
    }
    http("web-host", "/v1/agent/service/register", web, "PUT")
    http("db-host", "/v1/agent/service/register", db, "PUT")
    expect(
        "web is in the DNS of a server within a second",
        lambda: lookup("server-1", "web.service.consul") == [CLIENTS["web-host"]],
        within_s=1,
    )
    expect(
        "db is there as soon as its check passes",
        lambda: lookup("server-2", "db.service.consul") == [CLIENTS["db-host"]],
        within_s=5,
    )
    show_dig("server-3", "db.service.consul")


def talk_through_the_mesh() -> None:
    """Allowed, denied, allowed."""
    say("A call from web to db, through both sidecars, over mTLS")
    expect("web reaches db", lambda: call_db() == "db says: hello", within_s=20)
    say("Deny it: new calls are refused, open connections are cut")
    held = socket.create_connection((CLIENTS["web-host"], UPSTREAM_PORT), 3)
    held.sendall(b"still here?")
    held.recv(1000)
    lictor("server-1", "intention", "create", "-deny", "web", "db")
    expect("new calls are refused", lambda: call_db() == "", within_s=2)
    held.settimeout(0.2)
    expect("the open connection was cut", lambda: hung_up(held), within_s=2)
    held.close()
    lictor("server-1", "intention", "check", "web", "db")
    lictor("server-1", "explain", "intention", "web", "db")
    say("Allow it again")
    lictor("server-1", "intention", "create", "-allow", "-replace", "web", "db")
    expect("web reaches db again", lambda: call_db() == "db says: hello", within_s=2)


def hung_up(connection: socket.socket) -> bool:
    """Whether the other side has closed."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def lose_a_host(datacenter: Datacenter) -> None:
    """kill -9 of a client's host, then of the leader's."""
    say("kill -9 of db-host: its services leave DNS")
    datacenter.kill("db-host")
    expect(
        "db is gone from DNS",
        lambda: lookup("server-1", "db.service.consul") == [],
        within_s=DIED_WITHIN_S,
    )
    lictor("web-host", "members")
    lictor("server-1", "explain", "dns", "db.service.consul")
    say("kill -9 of the leader: writes go on")
    http("web-host", "/v1/kv/before", "x", "PUT")
    leader = str(http("web-host", "/v1/status/leader")).rsplit(":", 1)[0]
    name = next(n for n, address in SERVERS.items() if address == leader)
    print(f"   {name} leads and dies")
    datacenter.kill(name)
    expect(
        "a write is accepted again",
        lambda: http("web-host", "/v1/kv/after", "y", "PUT") is True,
        within_s=5,
    )
    expect("and nothing is lost", lambda: http("web-host", "/v1/kv/before"), within_s=2)


def main() -> int:
    """All steps; the exit status."""
    started = time.monotonic()
    # Told to stop is an end like any other: everything is stopped and removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    database = start_database()
    folder = Path(tempfile.mkdtemp(prefix="lictor-demo-"))
    datacenter = Datacenter(folder)
    try:
        start_everything(datacenter)
        register_services()
        talk_through_the_mesh()
        lose_a_host(datacenter)
    except (Unexpected, urllib.error.URLError, OSError) as error:
        datacenter.show_logs()
        print(f"\nNOT AS EXPECTED: {error}")
        return 1
    finally:
        datacenter.stop()
        database.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    say(f"Everything as expected, in {time.monotonic() - started:.0f} s. All is stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
