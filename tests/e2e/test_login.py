"""Access control through a client agent: logins, and with whose token the agent itself writes."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.agent.login import provider
from tests.agent.login.tokens import RSA_KEY, pem, sign
from tests.e2e.cluster import ENVIRONMENT, LICTOR, AgentProcess, Cluster, Response, cluster
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

MANAGEMENT = "aaaaaaaa-0000-4000-8000-00000000d00d"
AGENT = "aaaaaaaa-0000-4000-8000-0000000000a9"


def token(secret: str = MANAGEMENT) -> dict[str, str]:
    return {"X-Consul-Token": secret}


def settings(folder: Path, name: str, **tokens: str) -> str:
    path = folder / f"{name}.json"
    acl = {
        "enabled": True,
        "default_policy": "deny",
        "enable_token_persistence": True,
        "tokens": tokens,
    }
    path.write_text(json.dumps({"acl": acl}))
    return f"-config-file={path}"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server, and a client agent with a token for its own node only."""
    folder = tmp_path_factory.mktemp("pair")
    with cluster(folder) as made:
        flag = settings(folder, "s1", initial_management=MANAGEMENT, agent=MANAGEMENT)
        server = made.add("s1", "-server", "-bootstrap-expect=1", flag).ready()
        eventually(
            lambda: server.get("/v1/acl/token/self", headers=token()).status == 200,
            within_s=20,
            what="the management token counts",
        )
        given = {
            "SecretID": AGENT,
            "NodeIdentities": [{"NodeName": "c1", "Datacenter": "dc1"}],
        }
        server.put("/v1/acl/token", given, headers=token())
        made.add("c1", settings(folder, "c1", agent=AGENT)).ready()
        yield made


def through(pair: Cluster) -> AgentProcess:
    return pair.agents[1]


def catalog(pair: Cluster, path: str) -> Any:
    return pair.agents[0].get(path, headers=token()).json


def test_an_agent_writes_its_node_with_its_own_token(pair: Cluster) -> None:
    eventually(lambda: catalog(pair, "/v1/catalog/node/c1"), within_s=20)


def test_a_service_is_written_with_its_own_token(pair: Cluster) -> None:
    agent = through(pair)
    made = {"ServiceIdentities": [{"ServiceName": "web"}]}
    secret = pair.agents[0].put("/v1/acl/token", made, headers=token()).json["SecretID"]
    web = {"Name": "web", "Port": 1, "Token": secret}
    assert agent.request("PUT", "/v1/agent/service/register", {"Name": "web"}).status == 403
    agent.put("/v1/agent/service/register", web, headers=token(secret))
    eventually(lambda: catalog(pair, "/v1/catalog/service/web"), within_s=20)


def test_a_service_is_written_with_the_token_that_was_shown(pair: Cluster) -> None:
    agent = through(pair)
    agent.put("/v1/agent/service/register", {"Name": "shown"}, headers=token())
    eventually(lambda: catalog(pair, "/v1/catalog/service/shown"), within_s=20)


def test_a_service_without_a_token_is_written_with_the_default_one(pair: Cluster) -> None:
    agent = through(pair)
    weak = {"Name": "plain", "Token": "anonymous"}
    agent.put("/v1/agent/service/register", weak, headers=token())
    eventually(lambda: "failed to sync" in agent.log, within_s=20, what="it is refused")
    assert catalog(pair, "/v1/catalog/service/plain") == []
    agent.put("/v1/agent/token/default", {"Token": MANAGEMENT}, headers=token())
    agent.put("/v1/agent/service/register", {"Name": "plain", "Port": 2})
    eventually(lambda: catalog(pair, "/v1/catalog/service/plain"), within_s=30)
    agent.put("/v1/agent/token/default", {"Token": ""}, headers=token())
    kept = json.loads((agent.folder / "data" / "acl-tokens.json").read_text())
    assert kept == {"default": ""}
    assert MANAGEMENT not in agent.log and AGENT not in agent.log


def test_a_login_goes_through_any_agent(pair: Cluster, tmp_path: Path) -> None:
    agent, now = through(pair), time.time()
    config = {"JWTValidationPubKeys": [pem(RSA_KEY)], "ClaimMappings": {"svc": "svc"}}
    method = {"Name": "m", "Type": "jwt", "Config": config}
    agent.put("/v1/acl/auth-method", method, headers=token())
    rule = {"AuthMethod": "m", "BindType": "service", "BindName": "${value.svc}"}
    agent.put("/v1/acl/binding-rule", rule, headers=token())
    (tmp_path / "bearer").write_text(sign({"iat": now, "exp": now + 60, "svc": "Web"}))
    sink = tmp_path / "sink"
    agent.cli(
        "login",
        "-method=m",
        f"-bearer-token-file={tmp_path / 'bearer'}",
        f"-token-sink-file={sink}",
    )
    shown = json.loads(
        agent.cli("acl", "token", "read", "-self", "-format=json", f"-token-file={sink}")
    )
    assert shown["ServiceIdentities"] == [{"ServiceName": "web"}]
    told = json.loads(
        pair.agents[0].cli("explain", "-format=json", f"-token={MANAGEMENT}", "login")
    )
    assert told["Last"][0]["Bound"] == ["service web"]
    agent.cli("logout", f"-token-file={sink}")
    assert "ACL not found" in agent.cli(
        "acl", "token", "read", "-self", f"-token-file={sink}", expect=1
    )


def test_a_browser_logs_in_by_openid_connect(pair: Cluster, tmp_path: Path) -> None:
    agent = through(pair)
    with provider.running() as issuer:
        config = {
            "OIDCDiscoveryURL": issuer.url, "OIDCClientID": provider.CLIENT,
            "OIDCClientSecret": provider.SECRET, "ClaimMappings": {"team": "team"},
            "AllowedRedirectURIs": ["http://localhost:8550/oidc/callback"],
            "JWTSupportedAlgs": ["RS256", "ES256"],
        }  # fmt: skip
        agent.put(
            "/v1/acl/auth-method",
            {"Name": "sso", "Type": "oidc", "Config": config},
            headers=token(),
        )
        rule = {"AuthMethod": "sso", "BindType": "service", "BindName": "team-${value.team}"}
        agent.put("/v1/acl/binding-rule", rule, headers=token())
        for algorithm in ("RS256", "ES256"):
            issuer.alg = algorithm
            _log_in(agent, tmp_path / algorithm)
            secret = (tmp_path / algorithm).read_text()
            mine = agent.get("/v1/acl/token/self", headers=token(secret)).json
            names = [each["ServiceName"] for each in mine["ServiceIdentities"]]
            assert (mine["AuthMethod"], names) == ("sso", ["team-ops"])
        assert provider.SECRET not in agent.log + pair.agents[0].log
        assert issuer.refused == []
        _wrong_answers(agent, issuer)


def _log_in(agent: AgentProcess, sink: Path) -> None:
    command = [
        *(str(LICTOR), "login", "-type=oidc", "-method=sso", f"-token-sink-file={sink}"),
        *("-oidc-callback-listen-addr=localhost:0", f"-http-addr=http://{agent.address}:8500"),
    ]
    environment = {**ENVIRONMENT, "BROWSER": "true"}  # a browser that does nothing
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        url = next(line.strip() for line in run.stdout if line.strip().startswith("http"))
        with urllib.request.urlopen(url, timeout=20) as page:  # follows the provider back
            assert b"Logged in" in page.read()
        assert run.wait(30) == 0
    assert sink.stat().st_mode & 0o777 == 0o600


def _wrong_answers(agent: AgentProcess, issuer: provider.Provider) -> None:
    redirect = "http://localhost:8550/oidc/callback"
    begin = {"AuthMethod": "sso", "RedirectURI": redirect, "ClientNonce": "mine"}

    def answer(**change: object) -> Response:
        got = agent.request("POST", "/v1/acl/oidc/auth-url", begin)
        query = dict(parse_qsl(urlsplit(got.json["AuthURL"]).query))
        back = dict(parse_qsl(urlsplit(issuer.authorize(query)).query))
        body = {"AuthMethod": "sso", "State": back["state"], "Code": back["code"],
                "ClientNonce": "mine", **change}  # fmt: skip
        return agent.request("POST", "/v1/acl/oidc/callback", body)

    assert answer().status == 200
    for change in ({"ClientNonce": "yours"}, {"State": "x"}, {"AuthMethod": "m"}):
        got = answer(**change)
        assert (got.status, b"Expired or missing" in got.body) == (400, True), got
    assert answer(Code="other").status == 500
    for spoiled, text in (
        ({"nonce": "n"}, b"nonce"),
        ({"aud": "other"}, b"aud"),
        ({"iss": "http://other"}, b"iss"),
        ({"exp": 1000}, b"expired"),
    ):
        issuer.change = spoiled
        got = answer()
        assert got.status in {400, 500}
        assert text in got.body, got
    issuer.change = {}
    evil = agent.request("POST", "/v1/acl/oidc/auth-url", begin | {"RedirectURI": "http://evil/x"})
    assert (evil.status, b"unauthorized redirect_uri" in evil.body) == (400, True)
    bearer = agent.request("POST", "/v1/acl/login", {"AuthMethod": "sso", "BearerToken": "a.b.c"})
    assert (bearer.status, b"by browser only" in bearer.body) == (400, True)
