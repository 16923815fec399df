"""A client agent without a certificate gets one from the servers, and nobody else does."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from agent.backend.rpc import calls
from agent.backend.rpc.frames import (
    PROTOCOL_VERSION,
    RPC_FIRST_BYTE,
    Failure,
    FrameReader,
    Hello,
    Reply,
    Request,
    encode,
)
from tests.certificates import TestCA
from tests.e2e.cluster import AgentProcess, Cluster, cluster
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

MANAGEMENT = "aaaaaaaa-0000-4000-8000-00000000d00d"
AGENT = "aaaaaaaa-0000-4000-8000-0000000000a9"


def settings(folder: Path, name: str, **values: object) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"telemetry": {"prometheus_retention_time": "1m"}, **values}))
    return f"-config-file={path}"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCA:
    return TestCA(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(ca: TestCA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that demands certificates and gives them out, and a client agent that has none."""
    folder = tmp_path_factory.mktemp("pair")
    server = ca.server("s1")
    internal = {
        "ca_file": str(ca.file),
        "cert_file": str(server.cert),
        "key_file": str(server.key),
        "verify_incoming": True,
    }
    acl = {"enabled": True, "default_policy": "deny"}
    with cluster(folder) as made:
        flag = settings(
            folder,
            "s1",
            tls={"internal_rpc": internal},
            auto_encrypt={"allow_tls": True},
            acl=acl | {"tokens": {"initial_management": MANAGEMENT, "agent": MANAGEMENT}},
        )
        first = made.add("s1", "-server", "-bootstrap-expect=1", flag).ready()
        eventually(
            lambda: first.get("/v1/acl/token/self", headers=token()).status == 200,
            within_s=20,
            what="the management token counts",
        )
        identity = {"NodeName": "c1", "Datacenter": "dc1"}
        given = {"SecretID": AGENT, "NodeIdentities": [identity]}
        first.put("/v1/acl/token", given, headers=token())
        flag = settings(
            folder,
            "c1",
            tls={"internal_rpc": {"ca_file": str(ca.file), "verify_server_hostname": True}},
            auto_encrypt={"tls": True},
            acl=acl | {"tokens": {"agent": AGENT}},
        )
        made.add("c1", flag)
        yield made


def token(secret: str = MANAGEMENT) -> dict[str, str]:
    return {"X-Consul-Token": secret}


def metric(agent: AgentProcess, name: str) -> float:
    text = agent.get("/v1/agent/metrics?format=prometheus", headers=token()).body.decode()
    found = [line.rsplit(" ", 1)[1] for line in text.splitlines() if line.startswith(name)]
    return float(found[0]) if found else 0.0


def asked(server: AgentProcess, context: ssl.SSLContext, method: str, payload: bytes) -> object:
    """The frame that answers a request over TLS; None when the connection is cut."""
    with (
        socket.create_connection((server.address, 8300), 5) as plain,
        context.wrap_socket(plain, server_hostname="server.dc1.consul") as secure,
    ):
        secure.settimeout(5)
        hello = encode(Hello(PROTOCOL_VERSION, "dc1", "stranger"))
        secure.sendall(RPC_FIRST_BYTE + hello + encode(Request(1, method, 5.0, payload)))
        reader = FrameReader(1 << 20)
        while True:
            try:
                data = secure.recv(65536)
            except OSError:
                return None
            if not data:
                return None
            for frame in reader.feed(data):
                if isinstance(frame, Reply | Failure):
                    return frame


def test_the_agent_gets_its_certificate_and_is_an_agent_like_others(pair: Cluster) -> None:
    server, client = pair.agents
    eventually(
        lambda: client.get("/v1/kv/a", headers=token()).status == 404,
        within_s=30,
        what="the client agent's requests are answered",
    )
    assert server.get("/v1/catalog/node/c1", headers=token()).json
    assert metric(client, "lictor_auto_encrypt_issued_total") == 1
    life = metric(client, "lictor_tls_certificate_expires_s")
    assert 0 < life < 73 * 3600


def test_without_a_certificate_nothing_else_can_be_asked(pair: Cluster, ca: TestCA) -> None:
    server = pair.agents[0]
    context = ssl.create_default_context(cafile=str(ca.file))
    for method in (calls.ASK, calls.CHANGE, calls.SIGN_LEAF, calls.LEADER, "acl-login", "no"):
        for payload, name in (
            (b"", method),
            (calls.write_as(MANAGEMENT, method, b""), calls.AS),
        ):
            answer = asked(server, context, name, payload)
            assert isinstance(answer, Failure) and answer.code == "status-403", (method, answer)
            assert answer.text.startswith("a certificate is needed")
    answer = asked(server, context, calls.AGENT_CERTIFICATE, calls.pack(""))
    assert isinstance(answer, Reply)
    answer = asked(server, context, calls.AGENT_CERTIFICATE, calls.pack("rubbish"))
    assert isinstance(answer, Failure) and "CSR" in answer.text


def test_a_services_certificate_makes_no_agent(pair: Cluster, ca: TestCA, tmp_path: Path) -> None:
    server = pair.agents[0]
    leaf = server.get("/v1/agent/connect/ca/leaf/web", headers=token()).json
    path = tmp_path / "leaf.pem"
    path.write_text(leaf["CertPEM"] + leaf["PrivateKeyPEM"])
    context = ssl.create_default_context(cafile=str(ca.file))
    context.load_cert_chain(path)
    assert asked(server, context, calls.LEADER, b"") is None
    assert 'kind="certificate of no agent"} 1' in server.get(
        "/v1/agent/metrics?format=prometheus", headers=token()
    ).body.decode().replace(".0\n", "\n")
    assert "data_received" not in server.log, "what comes with a refused greeting is let lie"


def test_a_node_that_its_token_does_not_speak_for_gets_none(pair: Cluster, ca: TestCA) -> None:
    from agent.connect import ca as mesh
    from proxy.spiffe import Kind, SpiffeId

    server = pair.agents[0]
    context = ssl.create_default_context(cafile=str(ca.file))
    answer = asked(server, context, calls.AGENT_CERTIFICATE, calls.pack(""))
    assert isinstance(answer, Reply)
    domain, *_ = calls.unpack(answer.payload, str)
    for name, secret, given in (("s1", AGENT, False), ("c1", "", False), ("c1", AGENT, True)):
        identity = SpiffeId(kind=Kind.AGENT, trust_domain=domain, datacenter="dc1", name=name)
        csr = mesh.make_csr(mesh.generate_key(), identity)
        payload = calls.write_as(secret, calls.AGENT_CERTIFICATE, calls.pack(csr))
        answer = asked(server, context, calls.AS, payload)
        assert isinstance(answer, Reply) is given, answer
    service = SpiffeId.service(domain, "dc1", "web")
    csr = mesh.make_csr(mesh.generate_key(), service)
    payload = calls.write_as(MANAGEMENT, calls.AGENT_CERTIFICATE, calls.pack(csr))
    answer = asked(server, context, calls.AS, payload)
    assert isinstance(answer, Failure) and "must be an agent ID" in answer.text


def test_a_denied_certificate_of_an_agent_is_cut_and_may_only_ask_for_another(
    pair: Cluster, ca: TestCA, tmp_path: Path
) -> None:
    """A second holder of the name stands for the thief; the agent itself goes on."""
    from agent.connect import ca as mesh
    from proxy.spiffe import Kind, SpiffeId

    server, client = pair.agents
    eventually(
        lambda: client.get("/v1/kv/a", headers=token()).status == 404,
        within_s=30,
        what="the client agent's requests are answered",
    )
    stranger = ssl.create_default_context(cafile=str(ca.file))
    answer = asked(server, stranger, calls.AGENT_CERTIFICATE, calls.pack(""))
    assert isinstance(answer, Reply)
    domain, *_ = calls.unpack(answer.payload, str)
    key = mesh.generate_key()
    identity = SpiffeId(kind=Kind.AGENT, trust_domain=domain, datacenter="dc1", name="c1")
    request = calls.pack(mesh.make_csr(key, identity))
    payload = calls.write_as(AGENT, calls.AGENT_CERTIFICATE, request)
    answer = asked(server, stranger, calls.AS, payload)
    assert isinstance(answer, Reply), answer
    _, cert_pem, *_ = calls.unpack(answer.payload, str, str)
    (tmp_path / "c1.pem").write_text(cert_pem + mesh.key_pem(key))
    thief = ssl.create_default_context(cafile=str(ca.file))
    thief.load_cert_chain(tmp_path / "c1.pem")
    assert isinstance(asked(server, thief, calls.LEADER, b""), Reply)
    client.ready(60)  # the server alone has been enough up to here
    issued = metric(client, "lictor_auto_encrypt_issued_total")
    with (
        socket.create_connection((server.address, 8300), 5) as plain,
        thief.wrap_socket(plain, server_hostname="server.dc1.consul") as held,
    ):
        held.settimeout(10)
        held.sendall(RPC_FIRST_BYTE + encode(Hello(PROTOCOL_VERSION, "dc1", "c1")))
        assert held.recv(65536), "the greeting"
        # Certificates count in seconds: all of them are older than the moment of the revocation.
        body = {"Node": "c1", "Reason": "stolen", "Before": "2100-01-01T00:00:00Z"}
        made = server.put("/v1/connect/ca/revoke", body, headers=token()).json
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while held.recv(65536):
                pass
        assert time.monotonic() - began < 5, "cut"
    refused = asked(server, thief, calls.LEADER, b"")
    assert isinstance(refused, Failure) and refused.code == "status-403", refused
    eventually(
        lambda: metric(client, "lictor_auto_encrypt_issued_total") > issued,
        within_s=30,
        what="the agent asks for another certificate",
    )
    path = f"/v1/connect/ca/revocations?id={quote(made['ID'], safe='')}"
    assert server.request("DELETE", path, headers=token()).status == 200
    eventually(
        lambda: client.get("/v1/kv/a", headers=token()).status == 404,
        within_s=30,
        what="the client agent's requests are answered",
    )
