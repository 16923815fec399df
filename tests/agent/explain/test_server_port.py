"""The server port explained: rules, certificates, counters, the last who were turned away."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agent.backend.rpc.expiry import Held
from agent.certificates import TlsConfig
from agent.config.schema import AgentConfig
from agent.errors import RequestError
from agent.explain.server_port import PortView, explain_server_port
from raftstore.raft.refusals import Refusal

CONFIG = AgentConfig(node_name="s1", server=True)
TLS = TlsConfig(ca_file="ca", cert_file="c", key_file="k", verify_incoming=True)
VIEW = PortView(
    certificates=[Held(kind="certificate", subject="CN=x", serial=255, expires_at=1100.0)],
    refused={"plain connection": 2},
    refusals=[Refusal(reason="plain connection", address="10.0.0.9", at=990.0, count=2)],
    peers_refused={"stranger": 1},
    peer_refusals=[
        Refusal(reason="stranger", address="10.0.0.8", claims="n9", certificate="a b", at=995.0)
    ],
)


def test_it_says_what_holds_and_who_was_refused() -> None:
    told: Any = explain_server_port(replace(CONFIG, tls=TLS), VIEW, 1000.0)
    json.dumps(told)
    assert told["TLS"]["Requests"] == "only over TLS, with a certificate"
    assert told["TLS"]["Certificates"] == [
        {"Kind": "certificate", "Subject": "CN=x", "Serial": "ff", "ExpiresInSeconds": 100}
    ]
    assert told["Refused"] == {"plain connection": 2} and told["PeersRefused"] == {"stranger": 1}
    assert [(each["By"], each["SecondsAgo"], each["Count"]) for each in told["Last"]] == [
        ("raft", 5.0, 1),
        ("port", 10.0, 2),
    ]
    assert told["Last"][0]["Claims"] == "n9" and told["Last"][0]["Certificate"] == "a b"


def test_without_certificates_all_is_plain_and_a_client_has_no_port() -> None:
    told: Any = explain_server_port(CONFIG, VIEW, 1000.0)
    assert not told["TLS"]["Enabled"] and told["TLS"]["Requests"] == told["TLS"]["Raft"] == "plain"
    with pytest.raises(RequestError) as error:
        explain_server_port(CONFIG, None, 1000.0)
    assert error.value.status == 404
