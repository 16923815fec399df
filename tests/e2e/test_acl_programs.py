"""Programs that an agent runs, with access control: watches see what their token may see, and
`exec` works with the rights of those who ask and of the agent that runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.cluster import AgentProcess, Cluster
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

MANAGEMENT = "7b2f1c3e-7a1d-4c55-9b1e-0c6a5b8f3d21"
RUNS = "11111111-2222-3333-4444-555555555555"
SEES = "21111111-2222-3333-4444-555555555555"
ASKS = "31111111-2222-3333-4444-555555555555"
POWERLESS = "41111111-2222-3333-4444-555555555555"


@dataclass
class Guarded:
    server: AgentProcess
    folder: Path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("programs")
    config = folder / "server.json"
    config.write_text(
        json.dumps(
            {
                "acl": {
                    "enabled": True,
                    "default_policy": "deny",
                    "tokens": {"initial_management": MANAGEMENT, "agent": RUNS},
                },
                "disable_remote_exec": False,
                "watches": [
                    {
                        "type": "keyprefix",
                        "prefix": "a/",
                        "token": token,
                        "args": ["/bin/sh", "-c", f"cat > {folder}/{name}.new; "
                                 f"mv {folder}/{name}.new {folder}/{name}"],
                    }
                    for name, token in (("sees", SEES), ("powerless", POWERLESS))
                ],
            }
        )
    )  # fmt: skip
    cluster = Cluster(folder)
    try:
        server = cluster.add("s1", "-server", "-bootstrap-expect=1", f"-config-file={config}")
        server.ready()
        for name, secret, rules in (
            ("runs", RUNS, 'node_prefix "" { policy = "write" } '
             'key_prefix "_rexec/" { policy = "write" } service_prefix "" { policy = "read" }'),
            ("sees", SEES, 'key_prefix "a/" { policy = "read" }'),
            ("asks", ASKS, 'session_prefix "" { policy = "write" } '
             'key_prefix "_rexec/" { policy = "write" } event "_rexec" { policy = "write" } '
             'node_prefix "" { policy = "read" } agent_prefix "" { policy = "read" }'),
            ("powerless", POWERLESS, 'node_prefix "" { policy = "read" }'),
        ):  # fmt: skip
            manage(server, "/v1/acl/policy", {"Name": name, "Rules": rules})
            token = {"SecretID": secret, "Policies": [{"Name": name}]}
            manage(server, "/v1/acl/token", token)
        yield Guarded(server, folder)
    finally:
        cluster.stop()


def manage(server: AgentProcess, path: str, body: object) -> None:
    def done() -> bool:
        return bool(
            server.request("PUT", path, body, headers={"X-Consul-Token": MANAGEMENT}).status == 200
        )

    eventually(done, within_s=60, what=f"{path} is written")


def test_a_watch_sees_what_its_token_may_see(guarded: Guarded) -> None:
    server, told = guarded.server, guarded.folder / "sees"
    server.put("/v1/kv/a/x", b"1", headers={"X-Consul-Token": MANAGEMENT})
    server.put("/v1/kv/b/x", b"1", headers={"X-Consul-Token": MANAGEMENT})
    eventually(lambda: told.exists() and "a/x" in told.read_text(), within_s=90, what="it is told")
    assert "b/x" not in told.read_text()
    hidden = guarded.folder / "powerless"
    assert not hidden.exists() or "a/x" not in hidden.read_text()


def test_exec_works_with_tokens_that_may(guarded: Guarded) -> None:
    out = guarded.server.cli("exec", f"-token={ASKS}", "-wait=10s", "echo here")
    assert "    s1: here\n" in out and "finished with exit code 0" in out


def test_exec_says_what_is_denied(guarded: Guarded) -> None:
    out = guarded.server.cli("exec", f"-token={POWERLESS}", "-wait=2s", "echo here", expect=1)
    assert "Permission denied" in out and "here" not in out.replace("echo here", "")
