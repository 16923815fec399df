"""PostgreSQL servers under Patroni, each with an agent of its own as Patroni's Consul.

PostgreSQL refuses to run as root, so a root runs them as another user, in a folder that this user
may enter. Patroni's interpreter may lie where only root can look, so that right comes along.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.e2e.cluster import AgentProcess, fresh_address
from tests.interop.clients import FOLDER
from tests.ports import free_port

PATRONI = FOLDER / "bin" / "patroni"
PATRONICTL = FOLDER / "bin" / "patronictl"
SCOPE = "books"
#: Its session lives half as long. Patroni takes 20 too, where a machine that stands still for a few
#: seconds makes a standby of the primary.
TTL_S = 30


@cache
def programs() -> Path | None:
    """Where PostgreSQL's programs are."""
    found = shutil.which("postgres")
    if found is not None:
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@cache
def account() -> str | None:
    """The user that runs PostgreSQL; None when we are no root and it is ourselves."""
    if os.getuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


@cache
def absent() -> str:
    """Why these tests cannot run here, "" if they can."""
    if programs() is None:
        return "postgresql is not installed"
    if not PATRONI.exists():
        return "patroni is not in .interop (make interop-clients)"
    try:
        probe = run(str(PATRONI), "--version")
    except OSError as error:
        return f"{account()} cannot run patroni: {error}"
    return "" if probe.returncode == 0 else f"{account()} cannot run patroni: {probe.stderr}"


def as_account(*command: str) -> list[str]:
    """A command as the user of PostgreSQL."""
    user = account()
    if user is None:
        return list(command)
    look = "+dac_read_search"
    rights = (f"--inh-caps={look}", f"--ambient-caps={look}")
    return ["setpriv", f"--reuid={user}", "--clear-groups", *rights, *command]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A program as the user of PostgreSQL, to its end."""
    return subprocess.run(
        as_account(*command), cwd="/", capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
    )  # fmt: skip


class Member:
    """One PostgreSQL server and the Patroni that keeps it."""

    def __init__(self, name: str, folder: Path, agent: AgentProcess) -> None:
        self.name = name
        self.agent = agent
        self.address = fresh_address()
        self.port = free_port()
        self.api = f"{self.address}:{free_port()}"
        self.folder = folder / name
        self.folder.mkdir()
        self.process: subprocess.Popen[bytes] | None = None
        self.config = self.folder / "patroni.json"  # which is YAML too
        self.config.write_text(json.dumps(self._settings()))
        if account() is not None:
            shutil.chown(self.folder, account())

    def _settings(self) -> dict[str, Any]:
        assert programs() is not None
        everybody = ["local all all trust", "host all all 127.0.0.0/8 trust",
                     "host replication all 127.0.0.0/8 trust"]  # fmt: skip
        dcs = {
            # A commit is acknowledged when a standby has it: what is acknowledged must survive.
            "ttl": TTL_S, "loop_wait": 2, "retry_timeout": 5, "synchronous_mode": True,
            "postgresql": {"use_pg_rewind": True, "parameters": {"wal_log_hints": "on"}},
        }  # fmt: skip
        parameters = {
            "unix_socket_directories": str(self.folder), "shared_buffers": "16MB",
            "max_connections": 20,
        }  # fmt: skip
        return {
            "scope": SCOPE, "name": self.name,
            "restapi": {"listen": self.api, "connect_address": self.api},
            "consul": {"host": f"{self.agent.address}:8500", "register_service": True},
            "bootstrap": {"dcs": dcs, "initdb": [{"encoding": "UTF8"}, "data-checksums"]},
            "postgresql": {
                "listen": f"{self.address}:{self.port}",
                "connect_address": f"{self.address}:{self.port}",
                "data_dir": str(self.folder / "data"), "bin_dir": str(programs()),
                "pgpass": str(self.folder / "pgpass"), "pg_hba": everybody,
                "authentication": {
                    "superuser": {"username": "postgres", "password": "s"},
                    "replication": {"username": "copier", "password": "s"},
                },
                "parameters": parameters,
            },
        }  # fmt: skip

    def start(self) -> None:
        """Start Patroni, which starts PostgreSQL; does not wait."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                as_account(str(PATRONI), str(self.config)), cwd=self.folder,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(self.folder)},
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9 of the host: Patroni first, so that it does not start PostgreSQL again."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None
        with contextlib.suppress(OSError, ValueError, IndexError):
            words = (self.folder / "data" / "postmaster.pid").read_text().split()
            os.kill(int(words[0]), signal.SIGKILL)

    def ask(self, path: str) -> Any:
        """What its Patroni answers."""
        with urllib.request.urlopen(f"http://{self.api}{path}", timeout=30) as answer:
            return json.load(answer)

    def sql(self, text: str) -> str:
        """Have its PostgreSQL carry out a statement. Raises OSError when it does not."""
        bin_dir = programs()
        assert bin_dir is not None
        done = run(
            str(bin_dir / "psql"), f"--host={self.address}", f"--port={self.port}",
            "--username=postgres", "--no-password", "--no-psqlrc", "--tuples-only", "--no-align",
            "--set=ON_ERROR_STOP=1", f"--command={text}", "postgres",
        )  # fmt: skip
        if done.returncode != 0:
            raise OSError(done.stderr)
        return done.stdout.strip()

    def control(self, *words: str) -> str:
        """Run patronictl through this member's agent."""
        done = run(str(PATRONICTL), "-c", str(self.config), *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout


@contextlib.contextmanager
def members(agents: list[AgentProcess]) -> Iterator[list[Member]]:
    """A member for each agent, not yet started; none is left running."""
    folder = Path(tempfile.mkdtemp(prefix="patroni-"))
    folder.chmod(0o755)
    made = [Member(f"pg{i}", folder, agent) for i, agent in enumerate(agents, 1)]
    try:
        yield made
    except BaseException:
        for member in made:
            log = member.folder / "log"
            text = log.read_text(errors="replace") if log.exists() else ""
            print(f"--- {member.name}\n" + "\n".join(text.splitlines()[-40:]))
        raise
    finally:
        for member in made:
            member.kill()
        shutil.rmtree(folder, ignore_errors=True)
