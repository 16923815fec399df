"""Modules that are loaded when they are wanted, and those that an idle process must do without."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from agent.late import Late, loaded

#: What a process has imported that has just started, by what it is.
ENTRIES = {
    "client": "agent.cli.agent agent.config.load agent.process",
    "server": "agent.cli.agent agent.config.load agent.process agent.parts.server"
    " raftstore.raft.driver",
}
#: What costs much and few processes want. Each takes 0.5 to 9 MB and up to 40 ms of every start.
RARE = """
    cryptography.hazmat h2 hpack prometheus_client statistics decimal multiprocessing hcl2 lark
    wsgiref tarfile http.server dns.message agent.login agent.leader.logins agent.leader.oidc
    agent.connect.ca agent.connect.roots agent.backend.rpc.tls agent.http.https agent.exposition
    proxy.source proxy.server proxy.l7 proxy.http2 agent.explain.dns agent.explain.tokens
    agent.http.ui agent.http.acl_methods agent.http.intentions agent.http.query
    agent.http.topology agent.http.discovery_chain agent.local.checks.http2
    agent.local.checks.docker
""".split()
OF_SERVERS = """
    agent.parts.server agent.backend.local agent.leader.duties agent.connect.authority pysyncobj
    lmdb tarfile raftstore.store raftstore.raft.engine raftstore.raft.driver
    raftstore.state.machine
""".split()


def imported(modules: str) -> set[str]:
    lines = [*(f"import {name}" for name in modules.split()), "import sys", "print(*sys.modules)"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("kind", ENTRIES)
def test_an_idle_agent_has_not_loaded_what_few_want(kind: str) -> None:
    found = imported(ENTRIES[kind])
    assert "agent.http.server" in found
    unwanted = set(RARE) | (set(OF_SERVERS) if kind == "client" else set())
    too_much = sorted(found & unwanted)
    assert not too_much, "import it where it is wanted (docs/adr/0071-loaded-when-wanted.md)"


async def test_a_module_is_loaded_once_on_a_thread() -> None:
    late = Late("tests.agent.marked_by_thread")
    assert late.module is None
    first = await late.loaded()
    assert threading.current_thread().name != first.LOADED_BY
    assert await late.loaded() is first is late.module
    assert await loaded(late.name) is first


async def test_what_cannot_be_imported_is_an_error_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            await Late("agent.no_such_module").loaded()
        with pytest.raises(ModuleNotFoundError):
            await loaded("agent.no_such_module")
