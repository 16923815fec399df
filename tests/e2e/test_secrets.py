"""Secrets stay where they are: what an agent says of itself never holds one.

An agent is given secrets of every kind and used; then everything that it tells anybody (log,
metrics, errors, its own configuration, explanations, history, debug bundles) is searched for them,
and the files that it keeps are looked at.
"""

from __future__ import annotations

import base64
import json
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import AgentProcess, cluster
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

GOSSIP_KEY = base64.b64encode(bytes(range(100, 132))).decode()
OTHER_KEY = base64.b64encode(bytes(range(50, 82))).decode()
MANAGEMENT = "5ec2e700-0000-4000-8000-000000000001"
AGENT_TOKEN = "5ec2e700-0000-4000-8000-000000000002"
SERVICE_TOKEN = "5ec2e700-0000-4000-8000-000000000003"
WRONG_TOKEN = "5ec2e700-0000-4000-8000-000000000004"
SET_TOKEN = "5ec2e700-0000-4000-8000-000000000005"
SECRETS = (GOSSIP_KEY, OTHER_KEY, MANAGEMENT, AGENT_TOKEN, SERVICE_TOKEN, WRONG_TOKEN, SET_TOKEN)
#: Of keys of certificates the words around them are looked for.
MARKS = ("PRIVATE KEY",)
EXPLAINED = ("keyring", "limits", "loop", "raft", "restore", "server-port", "sidecars", "events",
             "coordinates", "watches", "member/a", "login")  # fmt: skip


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    folder = tmp_path_factory.mktemp("secrets")
    settings = {
        "encrypt": GOSSIP_KEY,
        "enable_debug": True,
        "log_level": "TRACE",
        "telemetry": {"prometheus_retention_time": "1m"},
        "acl": {
            "enabled": True,
            "default_policy": "deny",
            "enable_token_persistence": True,
            "tokens": {
                "initial_management": MANAGEMENT,
                "agent": MANAGEMENT,
                "replication": AGENT_TOKEN,
            },
        },
        "audit": {"enabled": True, "sink": {"s": {"type": "file", "path": f"{folder}/audit"}}},
    }
    path = folder / "secrets.json"
    path.write_text(json.dumps(settings))
    with cluster(folder) as made:
        flags = ("-server", "-bootstrap-expect=1", f"-config-file={path}")
        agent = made.add("a", *flags).ready()
        eventually(
            lambda: agent.get("/v1/kv/x", headers=token()).status == 404,
            within_s=20,
            what="the management token counts",
        )
        use(agent)
        yield agent


def token(secret: str = MANAGEMENT) -> dict[str, str]:
    return {"X-Consul-Token": secret}


def use(agent: AgentProcess) -> None:
    """Do what puts secrets into the agent."""
    made = {"SecretID": SERVICE_TOKEN, "ServiceIdentities": [{"ServiceName": "web"}]}
    agent.put("/v1/acl/token", made, headers=token())
    service = {"Name": "web", "Port": 1, "Token": SERVICE_TOKEN}
    agent.put("/v1/agent/service/register", service, headers=token(SERVICE_TOKEN))
    agent.put("/v1/agent/token/default", {"Token": SET_TOKEN}, headers=token())
    agent.put("/v1/agent/token/default", {"Token": ""}, headers=token())
    agent.put("/v1/agent/token/replication", {"Token": SET_TOKEN}, headers=token())
    agent.request("POST", "/v1/operator/keyring", {"Key": OTHER_KEY}, headers=token())
    agent.request("POST", "/v1/operator/keyring", {"Key": OTHER_KEY + "x"}, headers=token())
    assert agent.get("/v1/agent/connect/ca/leaf/web", headers=token()).status == 200
    for target in ("/v1/kv/a", "/v1/agent/self", "/v1/txn", "/v1/acl/tokens", "/v1/nope"):
        agent.get(f"{target}?token={WRONG_TOKEN}")
        agent.request("PUT", target, b"{", headers=token(WRONG_TOKEN))
    bearer = {"AuthMethod": "none", "BearerToken": f"{WRONG_TOKEN}.x.y"}
    agent.request("POST", "/v1/acl/login", bearer)


def clean(what: str, text: str) -> None:
    for secret in (*SECRETS, *MARKS):
        assert secret not in text, f"{what} tells {secret[:12]}…"


def test_the_log_and_the_audit_log_tell_no_secret(agent: AgentProcess) -> None:
    assert "service" in agent.log
    clean("log", agent.log)
    audit = (agent.folder.parent / "audit").read_text()
    assert "OperationComplete" in audit
    clean("audit log", audit)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/agent/self",
        "/v1/agent/metrics",
        "/v1/agent/metrics?format=prometheus",
        "/v1/agent/services",
        "/v1/agent/service/web",
        "/v1/history",
        "/v1/connect/ca/configuration",
        "/v1/connect/ca/roots",
        "/v1/operator/raft/configuration",
        "/v1/acl/auth-methods",
        "/v1/openapi.json",
        *(f"/v1/explain/{what}" for what in EXPLAINED),
    ],
)
def test_what_it_answers_tells_no_secret(agent: AgentProcess, path: str) -> None:
    got = agent.get(path, headers=token())
    assert got.status in {200, 404}, got
    text = got.body.decode()
    if path.endswith("/ca/roots"):
        assert "BEGIN CERTIFICATE" in text
    clean(path, text)


@pytest.mark.parametrize("path", ["/v1/acl/tokens", "/v1/acl/token/self", "/v1/history"])
def test_who_may_only_read_sees_no_secret_of_others(agent: AgentProcess, path: str) -> None:
    policy = {"Name": "reader", "Rules": 'acl = "read"\noperator = "read"'}
    agent.request("PUT", "/v1/acl/policy", policy, headers=token())
    made = agent.put("/v1/acl/token", {"Policies": [{"Name": "reader"}]}, headers=token()).json
    text = agent.get(path, headers=token(made["SecretID"])).body.decode()
    clean(path, text.replace(made["SecretID"], ""))


def test_errors_tell_no_secret(agent: AgentProcess) -> None:
    for method, path, body in (
        ("GET", f"/v1/kv/a?token={WRONG_TOKEN}", None),
        ("PUT", f"/v1/kv/a?token={WRONG_TOKEN}&cas=x", b"v"),
        ("PUT", "/v1/acl/token", {"SecretID": SERVICE_TOKEN}),
        ("PUT", "/v1/acl/token", {"SecretID": SERVICE_TOKEN + "x"}),
        ("PUT", "/v1/agent/token/agent", b'{"Token": 7}'),
        ("POST", "/v1/operator/keyring", {"Key": GOSSIP_KEY[:-4]}),
        ("POST", "/v1/acl/login", {"AuthMethod": "x", "BearerToken": WRONG_TOKEN}),
    ):
        got = agent.request(method, path, body, headers=token(WRONG_TOKEN))
        clean(f"{method} {path}", got.body.decode())
        got = agent.request(method, path.partition("?")[0], body, headers=token())
        clean(f"{method} {path}", got.body.decode())


def test_a_debug_bundle_tells_no_secret(agent: AgentProcess, tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    noise = threading.Timer(3.0, lambda: agent.get(f"/v1/kv/a?token={WRONG_TOKEN}"))
    noise.start()
    agent.cli(
        "debug", f"-token={MANAGEMENT}", "-duration=10s", "-interval=5s", f"-output={path}",
        timeout_s=50,
    )  # fmt: skip
    noise.join()
    with tarfile.open(f"{path}.tar.gz") as bundle:
        names = [each for each in bundle.getmembers() if each.isfile()]
        assert names
        for each in names:
            file = bundle.extractfile(each)
            assert file is not None
            clean(f"debug bundle, {each.name}", file.read().decode("utf-8", "replace"))


def test_its_files_are_its_owners_alone(agent: AgentProcess) -> None:
    data = agent.folder / "data"
    files = [each for each in data.rglob("*") if each.is_file()]
    assert files
    held = b"".join(each.read_bytes() for each in files)
    assert GOSSIP_KEY.encode() in held, "the test looks where the secrets are"
    for each in files:
        mode = stat.S_IMODE(each.stat().st_mode)
        assert not mode & 0o077, f"{each.relative_to(data)} has mode {mode:o}"
